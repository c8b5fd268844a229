//! The edge of the world. Files hold longitudes such as 180.00000000000006, the noise of an earlier computation, and
//! readers that take the limits of longitude and latitude at their word refuse them.

use arrow::array::BinaryArray;
use catchment_formats::wkb;
use catchment_model::Crs;

/// How far a coordinate may overshoot its limit and still be taken for it, in degrees: 0.1 mm on the ground.
const OVERSHOOT: f64 = 1e-9;
/// The limits of longitude and latitude, in degrees.
const LIMITS: [f64; 2] = [180.0, 90.0];

/// Whether coordinates of this CRS are degrees of longitude and latitude with these limits.
pub(super) fn is_bounded(crs: &Crs) -> bool {
    matches!(crs.authority.as_deref(), Some("EPSG:4326" | "OGC:CRS84"))
}

/// Whether a geometry overshoots the limits, be it by little or much.
pub(super) fn overshoots(geometry: &BinaryArray) -> bool {
    geometry
        .iter()
        .flatten()
        .filter_map(|bytes| wkb::scan(bytes).ok()?.bounds)
        .any(|[xmin, ymin, xmax, ymax]| xmin < -LIMITS[0] || xmax > LIMITS[0] || ymin < -LIMITS[1] || ymax > LIMITS[1])
}

/// Moves coordinates that overshoot their limit by no more than noise onto it, and counts them. What lies farther
/// out stays, for a check to find.
pub(super) fn snap(x: &mut [f64], y: &mut [f64]) -> u64 {
    let one = |values: &mut [f64], limit: f64| {
        let mut moved = 0;
        for value in values.iter_mut().filter(|v| v.abs() > limit && v.abs() <= limit + OVERSHOOT) {
            *value = limit.copysign(*value);
            moved += 1;
        }
        moved
    };
    one(x, LIMITS[0]) + one(y, LIMITS[1])
}

#[cfg(test)]
mod tests {
    use super::snap;

    #[test]
    fn only_noise_is_moved_onto_the_limit() {
        let (mut x, mut y) = ([180.000_000_000_000_06, -180.0, 180.01, 7.5], [-90.000_000_000_1, 90.0, 91.0, 47.0]);
        assert_eq!(snap(&mut x, &mut y), 2);
        assert_eq!(x, [180.0, -180.0, 180.01, 7.5]);
        assert_eq!(y, [-90.0, 90.0, 91.0, 47.0]);
    }
}
