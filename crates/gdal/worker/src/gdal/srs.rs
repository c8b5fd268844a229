//! Coordinate reference systems by OSR.

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use gdal_sys::{OGRErr, OGRSpatialReferenceH};

use super::{StringList, take_text, text};

/// A CRS whose coordinates are in the order x, y, whatever its axes say.
pub(crate) struct SpatialRef(OGRSpatialReferenceH);

/// Confidence (of 100) below which a likeness is not even considered.
const LIKELY: c_int = 90;

impl SpatialRef {
    /// A copy of a reference that libgdal keeps; `None` for null.
    ///
    /// # Safety
    /// `handle` is null or a live reference.
    pub(super) unsafe fn clone_of(handle: OGRSpatialReferenceH) -> Option<Self> {
        // SAFETY: as the caller promises.
        (!handle.is_null()).then(|| Self(unsafe { gdal_sys::OSRClone(handle) }))
    }

    /// Reads `EPSG:n`, WKT or a PROJ string. Nothing that names a file or an address is looked at.
    pub(crate) fn parse(user_input: &str) -> Option<Self> {
        let input = user_input.trim();
        let code = input.split_once(':').filter(|(authority, code)| {
            !authority.is_empty()
                && authority.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && !code.is_empty()
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        });
        let is_text = input.ends_with(']') || input.ends_with('}') || input.starts_with('+');
        if code.is_none() && !is_text {
            return None;
        }
        let text = CString::new(input).ok()?;
        // SAFETY: the text lives across the call; the new reference is owned by `this`.
        unsafe {
            let this = Self(gdal_sys::OSRNewSpatialReference(ptr::null()));
            if gdal_sys::OSRSetFromUserInput(this.0, text.as_ptr()) != OGRErr::OGRERR_NONE {
                return None;
            }
            gdal_sys::OSRSetAxisMappingStrategy(this.0, gdal_sys::OSRAxisMappingStrategy::OAMS_TRADITIONAL_GIS_ORDER);
            Some(this)
        }
    }

    pub(crate) fn name(&self) -> String {
        // SAFETY: the reference lives; the answer is copied.
        unsafe { text(gdal_sys::OSRGetName(self.0)) }
    }

    pub(crate) fn is_geographic(&self) -> bool {
        // SAFETY: the reference lives.
        unsafe { gdal_sys::OSRIsGeographic(self.0) != 0 }
    }

    /// Whether it is only a drawing's own system, unconnected to the earth.
    pub(crate) fn is_local(&self) -> bool {
        // SAFETY: the reference lives.
        unsafe { gdal_sys::OSRIsLocal(self.0) != 0 }
    }

    /// Whether both are the same system, names and axis order aside.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let options = StringList::new(&[
            "CRITERION=EQUIVALENT_EXCEPT_AXIS_ORDER_GEOGCRS",
            "IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES",
        ]);
        // SAFETY: both references and the options live across the call.
        unsafe { gdal_sys::OSRIsSameEx(self.0, other.0, options.as_ptr()) != 0 }
    }

    /// The code that it states itself, such as `EPSG:2056`.
    pub(crate) fn stated_authority(&self) -> Option<String> {
        // SAFETY: the reference lives; the answers are copied.
        let (authority, code) = unsafe {
            (
                text(gdal_sys::OSRGetAuthorityName(self.0, ptr::null())),
                text(gdal_sys::OSRGetAuthorityCode(self.0, ptr::null())),
            )
        };
        (!authority.is_empty() && !code.is_empty()).then(|| format!("{authority}:{code}"))
    }

    /// Registered systems that it may be, the likeliest first, with GDAL's confidence in per cent.
    pub(crate) fn matches(&self) -> Vec<(Self, i32)> {
        let mut count: c_int = 0;
        let mut confidences: *mut c_int = ptr::null_mut();
        // SAFETY: the out pointers live across the call; the arrays that it allocates have `count` entries
        // and are freed here, the references in them cloned before.
        unsafe {
            let found = gdal_sys::OSRFindMatches(self.0, ptr::null_mut(), &raw mut count, &raw mut confidences);
            if found.is_null() {
                return Vec::new();
            }
            let matches = (0..usize::try_from(count).unwrap_or(0))
                .map(|index| (*found.add(index), *confidences.add(index)))
                .filter(|&(_, confidence)| confidence >= LIKELY)
                .filter_map(|(handle, confidence)| Some((Self::clone_of(handle)?, confidence)))
                .collect();
            gdal_sys::OSRFreeSRSArray(found);
            gdal_sys::VSIFree(confidences.cast());
            matches
        }
    }

    /// WKT 2:2019.
    pub(crate) fn wkt2(&self) -> Option<String> {
        self.export(&["FORMAT=WKT2_2019", "MULTILINE=NO"], gdal_sys::OSRExportToWktEx)
    }

    /// PROJJSON.
    pub(crate) fn projjson(&self) -> Option<String> {
        self.export(&["MULTILINE=NO"], gdal_sys::OSRExportToPROJJSON)
    }

    fn export(
        &self,
        options: &[&str],
        how: unsafe extern "C" fn(OGRSpatialReferenceH, *mut *mut c_char, *const *const c_char) -> OGRErr::Type,
    ) -> Option<String> {
        let options = StringList::new(options);
        let mut exported: *mut c_char = ptr::null_mut();
        // SAFETY: reference, options and out pointer live across the call; the text is taken over.
        unsafe {
            let status = how(self.0, &raw mut exported, options.as_ptr());
            let exported = take_text(exported);
            (status == OGRErr::OGRERR_NONE && !exported.is_empty()).then_some(exported)
        }
    }
}

impl Drop for SpatialRef {
    fn drop(&mut self) {
        // SAFETY: the reference is owned by this value alone.
        unsafe { gdal_sys::OSRRelease(self.0) };
    }
}
