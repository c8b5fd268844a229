//! Thin safe wrappers of the parts of libgdal that the worker uses.

mod layer;
mod messages;
mod registry;
mod srs;

use std::ffi::{CStr, CString, c_char, c_uint};
use std::path::Path;
use std::ptr;

use catchment_model::problem::{Code, Problem};

pub(crate) use layer::{ArrowStream, Dataset, Layer};
pub(crate) use messages::take as take_messages;
pub(crate) use registry::initialize;
pub(crate) use srs::SpatialRef;

/// `GDAL_OF_VECTOR`, and read-only; a macro in C, so not in the bindings.
const OPEN_VECTOR: c_uint = 0x04;

/// libgdal's release, such as `3.6.2`.
pub(crate) fn version() -> String {
    // SAFETY: the key is a constant string; the answer is a static string of libgdal.
    unsafe { text(gdal_sys::GDALVersionInfo(c"RELEASE_NAME".as_ptr())) }
}

/// The short name of the accepted driver that recognises the file.
pub(crate) fn identify(path: &Path) -> Result<Option<String>, Problem> {
    let path = c_path(path)?;
    // SAFETY: the path lives across the call; null lists mean "every registered driver" and "look yourself".
    unsafe {
        let driver = gdal_sys::GDALIdentifyDriverEx(path.as_ptr(), OPEN_VECTOR, ptr::null(), ptr::null());
        Ok((!driver.is_null()).then(|| text(gdal_sys::GDALGetDriverShortName(driver))))
    }
}

/// A string that libgdal keeps; empty for null.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated string that lives across the call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A string that libgdal hands over.
///
/// # Safety
/// `pointer` is null or was allocated by libgdal as a NUL-terminated string that nobody else frees.
unsafe fn take_text(pointer: *mut c_char) -> String {
    // SAFETY: as the caller promises; null may be freed.
    unsafe {
        let copy = text(pointer);
        gdal_sys::VSIFree(pointer.cast());
        copy
    }
}

fn c_path(path: &Path) -> Result<CString, Problem> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|error| {
        Problem::new(Code::InvalidInput, "the path holds a NUL byte")
            .place(path.display().to_string())
            .cause(error.to_string())
    })
}

/// A null-terminated list of strings, as GDAL takes options.
struct StringList {
    _strings: Vec<CString>,
    pointers: Vec<*mut c_char>,
}

impl StringList {
    fn new<S: AsRef<str>>(strings: &[S]) -> Self {
        let strings: Vec<CString> = strings.iter().filter_map(|string| CString::new(string.as_ref()).ok()).collect();
        let pointers =
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain(std::iter::once(ptr::null_mut())).collect();
        Self { _strings: strings, pointers }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr().cast()
    }

    /// For the functions that take a list without changing it, whatever their types say.
    fn as_mut_ptr(&mut self) -> *mut *mut c_char {
        self.pointers.as_mut_ptr()
    }
}
