//! Contexts and objects of PROJ, owned.

use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::ptr::NonNull;

use catchment_model::{Code, Problem};
use proj_sys as sys;

/// The name by which PROJ's own code (src/iso19111/factory.cpp) opens the database that is built in.
const EMBEDDED_DATABASE: &str = "__embedded_proj_db__";

/// A context: one thread at a time.
pub(super) struct Context(NonNull<sys::PJ_CONTEXT>);

// SAFETY: a context may move between threads as long as one uses it at a time, which `!Sync` ensures.
unsafe impl Send for Context {}

/// An object that lives in a context.
pub(super) struct Object<'a> {
    raw: NonNull<sys::PJ>,
    context: PhantomData<&'a Context>,
}

impl Context {
    pub(super) fn new() -> Result<Self, Problem> {
        // SAFETY: a plain constructor; what follows sets it up before anyone uses it.
        let raw = NonNull::new(unsafe { sys::proj_context_create() })
            .ok_or_else(|| Problem::new(Code::Bug, "PROJ cannot start"))?;
        let context = Self(raw);
        let paths: Vec<CString> = grid_folders().into_iter().filter_map(|path| CString::new(path).ok()).collect();
        let pointers: Vec<*const c_char> = paths.iter().map(|path| path.as_ptr()).collect();
        let database = c_string(EMBEDDED_DATABASE)?;
        // SAFETY: the context is live; texts and pointers outlive the calls, which copy them.
        let opened = unsafe {
            sys::proj_log_level(context.raw(), sys::PJ_LOG_LEVEL_PJ_LOG_NONE);
            sys::proj_context_set_enable_network(context.raw(), 0);
            sys::proj_context_set_search_paths(context.raw(), pointers.len() as i32, pointers.as_ptr());
            sys::proj_context_set_database_path(context.raw(), database.as_ptr(), std::ptr::null(), std::ptr::null())
        };
        if opened == 0 {
            return Err(Problem::new(Code::Bug, "PROJ's built-in database cannot be opened")
                .remedy("build with PROJ's EMBED_RESOURCE_FILES, the default of static builds"));
        }
        Ok(context)
    }

    pub(super) fn raw(&self) -> *mut sys::PJ_CONTEXT {
        self.0.as_ptr()
    }

    /// Takes over an object that a function of PROJ made.
    pub(super) fn own(&self, raw: *mut sys::PJ) -> Option<Object<'_>> {
        NonNull::new(raw).map(|raw| Object { raw, context: PhantomData })
    }

    /// A CRS from `AUTHORITY:CODE`, WKT, PROJJSON or a PROJ string.
    pub(super) fn crs(&self, text: &str) -> Result<Object<'_>, Problem> {
        let unknown = || {
            Problem::new(Code::CrsInvalid, "a CRS is not known")
                .place(shorten(text))
                .cause(self.last_error())
                .remedy("give it as EPSG:n, WKT or a PROJ string")
        };
        let definition = c_string(text)?;
        // SAFETY: the context is live, the text outlives the call.
        let object = self.own(unsafe { sys::proj_create(self.raw(), definition.as_ptr()) }).ok_or_else(unknown)?;
        // SAFETY: the object is live.
        if unsafe { sys::proj_is_crs(object.raw()) } == 0 {
            return Err(unknown());
        }
        Ok(object)
    }

    pub(super) fn last_error(&self) -> String {
        // SAFETY: the context is live; the text is copied at once.
        let text = unsafe {
            let number = sys::proj_context_errno(self.raw());
            super::copied(sys::proj_context_errno_string(self.raw(), number))
        };
        text.unwrap_or_else(|| "PROJ gives no reason".to_owned())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once; objects borrow the context, so none is left.
        unsafe {
            sys::proj_context_destroy(self.raw());
        }
    }
}

impl Object<'_> {
    pub(super) fn raw(&self) -> *mut sys::PJ {
        self.raw.as_ptr()
    }

    /// Gives the object up without destroying it: the caller does.
    pub(super) fn release(self) -> NonNull<sys::PJ> {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once, before its context.
        unsafe {
            sys::proj_destroy(self.raw());
        }
    }
}

/// Makes SedonaDB's own functions (`ST_Transform` in a recipe's SQL) use the same database and grids.
pub(crate) fn use_for_sedona() -> Result<(), Problem> {
    use sedona_proj::transform::{ProjCrsEngineBuilder, configure_global_proj_engine};
    let builder = ProjCrsEngineBuilder::default()
        .with_database_path(EMBEDDED_DATABASE.into())
        .with_search_paths(grid_folders().into_iter().map(Into::into).collect());
    configure_global_proj_engine(builder)
        .map_err(|error| Problem::new(Code::Bug, "SedonaDB's PROJ cannot be set up").cause(error.to_string()))
}

pub(super) fn c_string(text: &str) -> Result<CString, Problem> {
    CString::new(text).map_err(|_| Problem::new(Code::CrsInvalid, "the definition of a CRS holds a zero byte"))
}

pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(77).chain("...".chars()).collect() }
}

fn grid_folders() -> Vec<String> {
    match std::env::var("PROJ_DATA") {
        Ok(paths) if !paths.is_empty() => paths.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
        _ => vec!["/usr/share/proj".to_owned(), "/usr/local/share/proj".to_owned()],
    }
}
