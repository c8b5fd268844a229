//! Geometry as ISO WKB: what type it is, whether it is empty, and whether GeoParquet can hold it.
//!
//! Byte layout: OGC 06-103r4 (Simple Feature Access 1), clause 8.2; type codes with Z and M: the same,
//! table 7 (plus 1000, 2000, 3000). The old high-bit flags of "EWKB" are read too.

use std::ffi::c_int;
use std::ptr;

use gdal_sys::{OGRErr, OGRGeometryH, OGRwkbByteOrder, OGRwkbGeometryType};

/// What one look at a geometry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// The flat type code, 1 (point) to 17 (triangle).
    pub(crate) kind: u32,
    /// Whether it has z coordinates.
    pub(crate) has_z: bool,
    /// Whether it has m values.
    pub(crate) has_m: bool,
    /// Whether it has no point.
    pub(crate) is_empty: bool,
    /// Whether it, or a part of it, is of a type that GeoParquet 1.1 does not know.
    pub(crate) is_exotic: bool,
    /// Whether its type is written in another way than ISO's.
    pub(crate) is_old_style: bool,
}

/// The name of a flat type code, in upper case; `GEOMETRY` for 0 and unknown ones.
pub(crate) fn kind_name(kind: u32) -> &'static str {
    match kind {
        1 => "POINT",
        2 => "LINESTRING",
        3 => "POLYGON",
        4 => "MULTIPOINT",
        5 => "MULTILINESTRING",
        6 => "MULTIPOLYGON",
        7 => "GEOMETRYCOLLECTION",
        8 => "CIRCULARSTRING",
        9 => "COMPOUNDCURVE",
        10 => "CURVEPOLYGON",
        11 => "MULTICURVE",
        12 => "MULTISURFACE",
        13 => "CURVE",
        14 => "SURFACE",
        15 => "POLYHEDRALSURFACE",
        16 => "TIN",
        17 => "TRIANGLE",
        _ => "GEOMETRY",
    }
}

/// What a type becomes that GeoParquet does not know; the others stay.
pub(crate) fn plain_kind(kind: u32) -> u32 {
    match kind {
        8 | 9 | 13 => 2,
        10 | 14 | 17 => 3,
        11 => 5,
        12 | 15 | 16 => 6,
        other => other,
    }
}

/// Splits a type code of ISO WKB, or with EWKB's flags: flat code, z, m, whether it is in the old style.
pub(crate) fn split_code(code: u32) -> (u32, bool, bool, bool) {
    const Z: u32 = 0x8000_0000;
    const M: u32 = 0x4000_0000;
    const SRID: u32 = 0x2000_0000;
    let low = code & 0x0fff_ffff;
    let thousands = low / 1000;
    let has_z = code & Z != 0 || thousands == 1 || thousands == 3;
    let has_m = code & M != 0 || thousands == 2 || thousands == 3;
    (low % 1000, has_z, has_m, code & (Z | M | SRID) != 0)
}

/// Looks at a geometry. `None` where the bytes are not WKB.
pub(crate) fn look(wkb: &[u8]) -> Option<Look> {
    let mut cursor = Cursor { bytes: wkb, at: 0 };
    cursor.look(0)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Depth of collections in collections beyond which bytes are taken for nonsense, as OGR does.
const MAX_DEPTH: u32 = 32;

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(N)?)?;
        self.at += N;
        bytes.try_into().ok()
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|&at| at <= self.bytes.len())?;
        Some(())
    }

    fn number(&mut self, little: bool) -> Option<u32> {
        self.take().map(if little { u32::from_le_bytes } else { u32::from_be_bytes })
    }

    fn look(&mut self, depth: u32) -> Option<Look> {
        let little = match self.take::<1>()? {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let code = self.number(little)?;
        let (kind, has_z, has_m, is_old_style) = split_code(code);
        if code & 0x2000_0000 != 0 {
            self.skip(4)?;
        }
        let dimensions = 2 + usize::from(has_z) + usize::from(has_m);
        let mut look = Look { kind, has_z, has_m, is_empty: true, is_exotic: plain_kind(kind) != kind, is_old_style };
        match kind {
            1 => {
                let x = self.take::<8>()?;
                look.is_empty = f64::from_le_bytes(if little { x } else { reversed(x) }).is_nan();
                self.skip((dimensions - 1) * 8)?;
            }
            2 | 8 => look.is_empty = self.points(little, dimensions)? == 0,
            3 | 17 => {
                for _ in 0..self.number(little)? {
                    look.is_empty &= self.points(little, dimensions)? == 0;
                }
            }
            4..=7 | 9..=12 | 15 | 16 => {
                if depth == MAX_DEPTH {
                    return None;
                }
                for _ in 0..self.number(little)? {
                    let part = self.look(depth + 1)?;
                    look.is_empty &= part.is_empty;
                    look.is_exotic |= part.is_exotic;
                    look.is_old_style |= part.is_old_style;
                }
            }
            _ => return None,
        }
        Some(look)
    }

    fn points(&mut self, little: bool, dimensions: usize) -> Option<u32> {
        let count = self.number(little)?;
        self.skip(usize::try_from(count).ok()?.checked_mul(dimensions * 8)?)?;
        Some(count)
    }
}

fn reversed(mut bytes: [u8; 8]) -> [u8; 8] {
    bytes.reverse();
    bytes
}

/// Writes a geometry anew as ISO WKB of a type that GeoParquet knows: curves become lines that stay within
/// OGR's default of 4 degrees of arc a step, surfaces become multipolygons. `None` where OGR cannot.
pub(crate) fn rewrite(wkb: &[u8]) -> Option<Vec<u8>> {
    let length = c_int::try_from(wkb.len()).ok()?;
    let mut handle: OGRGeometryH = ptr::null_mut();
    // SAFETY: the bytes live across the call with their length; every geometry is destroyed once, by its
    // owner below, except where `OGR_G_ForceTo` takes it over.
    unsafe {
        let status = gdal_sys::OGR_G_CreateFromWkb(wkb.as_ptr().cast(), ptr::null_mut(), &raw mut handle, length);
        if status != OGRErr::OGRERR_NONE || handle.is_null() {
            return None;
        }
        let linear = gdal_sys::OGR_G_GetLinearGeometry(handle, 0.0, ptr::null_mut());
        gdal_sys::OGR_G_DestroyGeometry(handle);
        if linear.is_null() {
            return None;
        }
        let kind = gdal_sys::OGR_GT_Flatten(gdal_sys::OGR_G_GetGeometryType(linear));
        let plain = match kind {
            OGRwkbGeometryType::wkbPolyhedralSurface | OGRwkbGeometryType::wkbTIN => {
                gdal_sys::OGR_G_ForceTo(linear, OGRwkbGeometryType::wkbMultiPolygon, ptr::null_mut())
            }
            OGRwkbGeometryType::wkbTriangle => {
                gdal_sys::OGR_G_ForceTo(linear, OGRwkbGeometryType::wkbPolygon, ptr::null_mut())
            }
            _ => linear,
        };
        if plain.is_null() {
            return None;
        }
        let size = usize::try_from(gdal_sys::OGR_G_WkbSize(plain)).ok();
        let written = size.and_then(|size| {
            let mut bytes = vec![0; size];
            let status = gdal_sys::OGR_G_ExportToIsoWkb(plain, OGRwkbByteOrder::wkbNDR, bytes.as_mut_ptr());
            (status == OGRErr::OGRERR_NONE).then_some(bytes)
        });
        gdal_sys::OGR_G_DestroyGeometry(plain);
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wkb(kind: u32, body: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(kind.to_le_bytes());
        body.iter().for_each(|part| bytes.extend(*part));
        bytes
    }

    fn point(x: f64, y: f64) -> Vec<u8> {
        wkb(1, &[&x.to_le_bytes(), &y.to_le_bytes()])
    }

    #[test]
    fn a_point_without_numbers_is_empty() {
        assert!(!look(&point(1.0, 2.0)).unwrap().is_empty);
        assert!(look(&point(f64::NAN, f64::NAN)).unwrap().is_empty);
    }

    #[test]
    fn a_collection_of_empty_parts_is_empty_and_one_with_a_point_is_not() {
        let two = 2_u32.to_le_bytes();
        let hollow = point(f64::NAN, f64::NAN);
        assert!(look(&wkb(7, &[&two, &hollow, &hollow])).unwrap().is_empty);
        assert!(!look(&wkb(7, &[&two, &hollow, &point(0.0, 0.0)])).unwrap().is_empty);
        assert!(look(&wkb(6, &[&0_u32.to_le_bytes()])).unwrap().is_empty);
    }

    #[test]
    fn an_arc_inside_a_collection_is_seen() {
        let arc = wkb(8, &[&0_u32.to_le_bytes()]);
        let look = look(&wkb(7, &[&1_u32.to_le_bytes(), &arc])).unwrap();
        assert!(look.is_exotic);
        assert_eq!(plain_kind(9), 2);
    }

    #[test]
    fn dimensions_are_read_from_both_notations() {
        assert_eq!(split_code(1003), (3, true, false, false));
        assert_eq!(split_code(2003), (3, false, true, false));
        assert_eq!(split_code(3003), (3, true, true, false));
        assert_eq!(split_code(0x8000_0003), (3, true, false, true));
    }

    #[test]
    fn bytes_that_end_too_early_are_not_wkb() {
        let whole = point(1.0, 2.0);
        for end in 0..whole.len() {
            assert_eq!(look(&whole[..end]), None);
        }
        assert_eq!(look(&wkb(2, &[&u32::MAX.to_le_bytes()])), None);
    }
}
