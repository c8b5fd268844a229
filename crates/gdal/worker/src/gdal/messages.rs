//! What GDAL says on its way: it often only murmurs where a reader of the data would want to hear it.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use gdal_sys::{CPLErr, CPLErrorNum};

/// Warnings that are kept word by word; the others are counted.
const KEPT: usize = 20;

/// GDAL's number for "out of memory".
const OUT_OF_MEMORY: CPLErrorNum = 2;

/// How memory that ran out is put into words: by C++, and by the GeoJSON driver, whose largest object follows
/// from the limit of memory.
const SIGNS: [&str; 2] = ["std::bad_alloc", "OGR_GEOJSON_MAX_OBJ_SIZE"];

/// What was said since the last time someone asked.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Failures, in order; the first ones.
    pub(crate) failures: Vec<String>,
    /// Warnings, in order; the first ones.
    pub(crate) warnings: Vec<String>,
    /// Number of warnings.
    pub(crate) warning_count: u64,
    /// Whether memory ran out.
    pub(crate) out_of_memory: bool,
}

static SAID: Mutex<Messages> =
    Mutex::new(Messages { failures: Vec::new(), warnings: Vec::new(), warning_count: 0, out_of_memory: false });

/// Listens to every thread of libgdal.
pub(super) fn listen() {
    // SAFETY: the handler is a function that lives for ever and needs no data.
    unsafe { gdal_sys::CPLSetErrorHandler(Some(handle)) };
}

/// What was said since the last call.
pub(crate) fn take() -> Messages {
    std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner))
}

unsafe extern "C" fn handle(class: CPLErr::Type, number: CPLErrorNum, message: *const c_char) {
    // SAFETY: libgdal passes a NUL-terminated string that lives across the call.
    let message = unsafe { super::text(message) };
    let message = message.trim();
    if class < CPLErr::CE_Warning {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.out_of_memory |= number == OUT_OF_MEMORY || SIGNS.iter().any(|sign| message.contains(sign));
    let list = if class == CPLErr::CE_Warning {
        said.warning_count += 1;
        eprintln!("GDAL warning: {message}");
        &mut said.warnings
    } else {
        eprintln!("GDAL error: {message}");
        &mut said.failures
    };
    if list.len() < KEPT {
        list.push(message.to_owned());
    }
}
