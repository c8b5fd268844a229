//! GEOS, as far as it is needed to repair geometries: parse, test, repair, write.
//!
//! A [`Geos`] owns one context with its reader and writer, so that a geometry costs no set-up. It belongs to one
//! thread at a time. GEOS reports by a callback; the last message becomes the error.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Mutex;

use geos_sys as sys;

/// What was found of a geometry, and the repaired one where it was invalid.
#[derive(Debug, PartialEq)]
pub(crate) enum Repair {
    /// It is valid as it is.
    Valid,
    /// It was not; this is what became of it, as ISO WKB.
    Repaired(Vec<u8>),
    /// It was not, and what became of it is still not valid.
    StillInvalid(Vec<u8>),
}

/// A context of GEOS with its reader and writer.
pub(crate) struct Geos {
    context: sys::GEOSContextHandle_t,
    strict: NonNull<sys::GEOSWKBReader>,
    lenient: NonNull<sys::GEOSWKBReader>,
    writer: NonNull<sys::GEOSWKBWriter>,
    message: Box<Mutex<String>>,
}

// SAFETY: a context may be used by any thread, by one at a time; all methods take `&mut self`.
unsafe impl Send for Geos {}

struct Geometry {
    context: sys::GEOSContextHandle_t,
    raw: NonNull<sys::GEOSGeometry>,
}

impl Drop for Geometry {
    fn drop(&mut self) {
        // SAFETY: `raw` came from this context and is destroyed once.
        unsafe { sys::GEOSGeom_destroy_r(self.context, self.raw.as_ptr()) }
    }
}

unsafe extern "C" fn keep_message(message: *const c_char, data: *mut c_void) {
    // SAFETY: `data` is the box that the context was given, which outlives it; `message` is a C string.
    let (slot, message) = unsafe { (&*data.cast::<Mutex<String>>(), CStr::from_ptr(message)) };
    if let Ok(mut slot) = slot.lock() {
        *slot = message.to_string_lossy().into_owned();
    }
}

impl Geos {
    pub(crate) fn new() -> Result<Self, String> {
        let message = Box::new(Mutex::new(String::new()));
        // SAFETY: plain constructors; each result is checked, and what exists is owned by `Self`.
        unsafe {
            let context = sys::GEOS_init_r();
            if context.is_null() {
                return Err("GEOS cannot start".to_owned());
            }
            let data = (&raw const *message).cast_mut().cast();
            sys::GEOSContext_setErrorMessageHandler_r(context, Some(keep_message), data);
            let (Some(strict), Some(lenient), Some(writer)) = (
                NonNull::new(sys::GEOSWKBReader_create_r(context)),
                NonNull::new(sys::GEOSWKBReader_create_r(context)),
                NonNull::new(sys::GEOSWKBWriter_create_r(context)),
            ) else {
                return Err("GEOS cannot start".to_owned());
            };
            sys::GEOSWKBReader_setFixStructure_r(context, lenient.as_ptr(), 1);
            sys::GEOSWKBWriter_setFlavor_r(context, writer.as_ptr(), sys::GEOSWKBFlavors_GEOS_WKB_ISO as _);
            sys::GEOSWKBWriter_setOutputDimension_r(context, writer.as_ptr(), 4);
            sys::GEOSWKBWriter_setByteOrder_r(context, writer.as_ptr(), sys::GEOSWKBByteOrders_GEOS_WKB_NDR as _);
            Ok(Self { context, strict, lenient, writer, message })
        }
    }

    /// The version of GEOS.
    pub(crate) fn version() -> String {
        // SAFETY: a static C string.
        unsafe { CStr::from_ptr(sys::GEOSversion()) }.to_string_lossy().into_owned()
    }

    /// Tests and repairs. Rings that are open or too short are closed first, which counts as a repair. The method
    /// is GEOS's default, the linework method, which PostGIS's ST_MakeValid uses too: every line of the input
    /// stays a line of the result, so what collapses becomes a line or a point and is not lost.
    pub(crate) fn repair(&mut self, wkb: &[u8]) -> Result<Repair, String> {
        let (geometry, mended) = match self.read(self.strict, wkb) {
            Ok(geometry) => (geometry, false),
            Err(_) => (self.read(self.lenient, wkb)?, true),
        };
        if self.is_valid(&geometry)? {
            return Ok(if mended { Repair::Repaired(self.write(&geometry)?) } else { Repair::Valid });
        }
        // SAFETY: a geometry of this context.
        let repaired = self.own(unsafe { sys::GEOSMakeValid_r(self.context, geometry.raw.as_ptr()) })?;
        let bytes = self.write(&repaired)?;
        Ok(if self.is_valid(&repaired)? { Repair::Repaired(bytes) } else { Repair::StillInvalid(bytes) })
    }

    fn read(&self, reader: NonNull<sys::GEOSWKBReader>, wkb: &[u8]) -> Result<Geometry, String> {
        // SAFETY: the reader is of this context; pointer and length are of one slice.
        self.own(unsafe { sys::GEOSWKBReader_read_r(self.context, reader.as_ptr(), wkb.as_ptr(), wkb.len()) })
    }

    fn is_valid(&self, geometry: &Geometry) -> Result<bool, String> {
        // SAFETY: a geometry of this context.
        match unsafe { sys::GEOSisValid_r(self.context, geometry.raw.as_ptr()) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.last_message()),
        }
    }

    fn write(&self, geometry: &Geometry) -> Result<Vec<u8>, String> {
        let mut length = 0usize;
        // SAFETY: writer and geometry are of this context; the buffer is copied, then freed by GEOS.
        unsafe {
            let buffer =
                sys::GEOSWKBWriter_write_r(self.context, self.writer.as_ptr(), geometry.raw.as_ptr(), &raw mut length);
            if buffer.is_null() {
                return Err(self.last_message());
            }
            let bytes = std::slice::from_raw_parts(buffer, length).to_vec();
            sys::GEOSFree_r(self.context, buffer.cast());
            Ok(bytes)
        }
    }

    fn own(&self, raw: *mut sys::GEOSGeometry) -> Result<Geometry, String> {
        let raw = NonNull::new(raw).ok_or_else(|| self.last_message())?;
        Ok(Geometry { context: self.context, raw })
    }

    fn last_message(&self) -> String {
        self.message.lock().map(|message| message.clone()).unwrap_or_default()
    }
}

impl Drop for Geos {
    fn drop(&mut self) {
        // SAFETY: each is of this context and is destroyed once, the context last.
        unsafe {
            sys::GEOSWKBReader_destroy_r(self.context, self.strict.as_ptr());
            sys::GEOSWKBReader_destroy_r(self.context, self.lenient.as_ptr());
            sys::GEOSWKBWriter_destroy_r(self.context, self.writer.as_ptr());
            sys::GEOS_finish_r(self.context);
        }
    }
}
