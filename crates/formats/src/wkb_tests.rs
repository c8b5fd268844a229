use proptest::prelude::*;

use super::{Kind, WkbFault, header, scan, walk};

fn point(x: f64, y: f64) -> Vec<u8> {
    let mut wkb = vec![1, 1, 0, 0, 0];
    wkb.extend(x.to_le_bytes());
    wkb.extend(y.to_le_bytes());
    wkb
}

fn line(points: &[(f64, f64)]) -> Vec<u8> {
    let mut wkb = vec![0];
    wkb.extend(2u32.to_be_bytes());
    wkb.extend((points.len() as u32).to_be_bytes());
    for (x, y) in points {
        wkb.extend(x.to_be_bytes());
        wkb.extend(y.to_be_bytes());
    }
    wkb
}

fn collection(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut wkb = vec![1, 7, 0, 0, 0];
    wkb.extend((parts.len() as u32).to_le_bytes());
    wkb.extend(parts.concat());
    wkb
}

#[test]
fn a_collection_of_mixed_byte_orders_has_the_bounds_of_all_its_parts() {
    let wkb = collection(&[point(7.0, 47.0), line(&[(6.0, 48.0), (8.0, 46.0)])]);
    let summary = scan(&wkb).unwrap();
    assert_eq!(summary.header.kind, Kind::GeometryCollection);
    assert_eq!(summary.bounds, Some([6.0, 46.0, 8.0, 48.0]));
    assert_eq!(summary.not_finite, None);
}

#[test]
fn a_height_is_found_and_is_not_part_of_the_bounds() {
    let mut wkb = vec![1];
    wkb.extend(1001u32.to_le_bytes());
    for number in [1.0f64, 2.0, 300.0] {
        wkb.extend(number.to_le_bytes());
    }
    let summary = scan(&wkb).unwrap();
    assert!(summary.header.z && !summary.header.m);
    assert_eq!(summary.bounds, Some([1.0, 2.0, 1.0, 2.0]));
    assert_eq!(summary.heights, Some([300.0, 300.0]));
}

#[test]
fn a_point_of_nan_is_empty_and_a_line_through_nan_is_not_finite() {
    let empty = scan(&point(f64::NAN, f64::NAN)).unwrap();
    assert_eq!((empty.bounds, empty.not_finite), (None, None));
    let broken = scan(&line(&[(1.0, 1.0), (f64::INFINITY, 2.0)])).unwrap();
    assert_eq!(broken.not_finite, Some((1, f64::INFINITY, 2.0)));
}

#[test]
fn counts_that_promise_more_than_there_is_are_refused() {
    let mut wkb = vec![1, 2, 0, 0, 0];
    wkb.extend(u32::MAX.to_le_bytes());
    assert_eq!(scan(&wkb), Err(WkbFault::CutOff));
    assert_eq!(scan(&[]), Err(WkbFault::CutOff));
}

#[test]
fn extended_wkb_curves_foreign_parts_and_leftovers_are_refused() {
    let mut extended = point(1.0, 2.0);
    extended[4] = 0x20;
    assert!(matches!(header(&extended), Err(WkbFault::UnknownType(_))));
    assert_eq!(header(&[1, 8, 0, 0, 0]), Err(WkbFault::UnknownType(8)));
    let mut multi = collection(&[line(&[(0.0, 0.0), (1.0, 1.0)])]);
    multi[1] = 4;
    assert_eq!(scan(&multi), Err(WkbFault::WrongPart));
    let mut long = point(1.0, 2.0);
    long.push(0);
    assert_eq!(scan(&long), Err(WkbFault::TrailingBytes));
}

#[test]
fn nesting_is_bounded() {
    let mut wkb = point(0.0, 0.0);
    for _ in 0..100 {
        wkb = collection(&[wkb]);
    }
    assert_eq!(scan(&wkb), Err(WkbFault::TooDeep));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&bytes);
    }

    #[test]
    fn a_run_lies_within_the_bytes(points in proptest::collection::vec((-180.0..180.0f64, -90.0..90.0f64), 0..50)) {
        let wkb = collection(&[line(&points)]);
        let mut total = 0;
        walk(&wkb, |run| {
            assert!(run.offset + run.count * 16 <= wkb.len());
            total += run.count;
        }).unwrap();
        prop_assert_eq!(total, points.len());
    }
}
