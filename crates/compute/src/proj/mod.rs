//! PROJ: what a CRS is, whether two are the same, and the transformation of coordinates with a record of the
//! operation that was used.
//!
//! The database of CRSs is the one built into the binary, always: a `proj.db` that lies about belongs to another
//! version of PROJ. Grids are searched for in the folders of `PROJ_DATA`, or else in `/usr/share/proj` and
//! `/usr/local/share/proj`. The network is off.

use std::ffi::CStr;

use catchment_model::{Code, Crs, Problem};

mod context;
mod operations;
mod transformer;

pub(crate) use context::use_for_sedona;
use context::{Context, Object};
pub use operations::better_operation;
pub use transformer::Transformer;

use proj_sys as sys;

/// Whether a text has the form `AUTHORITY:CODE`, such as `EPSG:4326`.
pub fn is_authority_code(text: &str) -> bool {
    text.split_once(':').is_some_and(|(authority, code)| {
        let plain = |part: &str, extra: &str| {
            !part.is_empty() && part.len() <= 64 && part.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
        };
        plain(authority, "_") && plain(code, "._-")
    })
}

/// The CRS that a text stands for: `AUTHORITY:CODE`, WKT, PROJJSON or a PROJ string.
pub fn resolve(text: &str) -> Result<Crs, Problem> {
    let context = Context::new()?;
    let object = context.crs(text)?;
    describe(&context, &object, text)
}

/// Whether coordinates in the order x, y mean the same in both: EPSG:4326 and OGC:CRS84 do.
pub fn same_coordinates(a: &Crs, b: &Crs) -> Result<bool, Problem> {
    if a.projjson == b.projjson {
        return Ok(true);
    }
    let context = Context::new()?;
    let (a, b) = (context.crs(&source_text(a))?, context.crs(&source_text(b))?);
    Ok(equivalent(&context, &a, &b))
}

/// A CRS as PROJ describes the one of its code, where it has one: with all that the definition alone leaves out.
pub(crate) fn canonical(crs: &Crs) -> Result<Crs, Problem> {
    resolve(&source_text(crs))
}

/// PROJ's version, such as `9.6.0`.
pub fn version() -> String {
    format!("{}.{}.{}", sys::PROJ_VERSION_MAJOR, sys::PROJ_VERSION_MINOR, sys::PROJ_VERSION_PATCH)
}

/// What to hand to PROJ for a CRS: its code where it has one, since PROJ knows most of what it knows of; else
/// the definition.
fn source_text(crs: &Crs) -> String {
    match &crs.authority {
        Some(authority) if is_authority_code(authority) => authority.clone(),
        _ if crs.projjson.is_object() => crs.projjson.to_string(),
        _ => crs.wkt.clone(),
    }
}

fn equivalent(context: &Context, a: &Object<'_>, b: &Object<'_>) -> bool {
    let criterion = sys::PJ_COMPARISON_CRITERION_PJ_COMP_EQUIVALENT_EXCEPT_AXIS_ORDER_GEOGCRS;
    // SAFETY: both objects are of this context.
    unsafe { sys::proj_is_equivalent_to_with_ctx(context.raw(), a.raw(), b.raw(), criterion) != 0 }
}

fn describe(context: &Context, object: &Object<'_>, text: &str) -> Result<Crs, Problem> {
    let unreadable =
        || Problem::new(Code::CrsInvalid, "a CRS cannot be written as WKT and PROJJSON").place(text.to_owned());
    // SAFETY: the object is of this context; the texts are copied before the next call.
    let (name, wkt, projjson, authority) = unsafe {
        let wkt = sys::PJ_WKT_TYPE_PJ_WKT2_2019;
        (
            copied(sys::proj_get_name(object.raw())),
            copied(sys::proj_as_wkt(context.raw(), object.raw(), wkt, std::ptr::null())),
            copied(sys::proj_as_projjson(context.raw(), object.raw(), std::ptr::null())),
            copied(sys::proj_get_id_auth_name(object.raw(), 0)).zip(copied(sys::proj_get_id_code(object.raw(), 0))),
        )
    };
    Ok(Crs {
        name: name.unwrap_or_default(),
        authority: authority.map(|(authority, code)| format!("{authority}:{code}")),
        wkt: wkt.ok_or_else(unreadable)?,
        projjson: projjson.and_then(|json| serde_json::from_str(&json).ok()).ok_or_else(unreadable)?,
    })
}

/// # Safety
/// `text` is null or a C string.
unsafe fn copied(text: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
