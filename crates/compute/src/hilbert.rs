//! The Hilbert curve that files are sorted along, so that what lies close together is stored close together.
//!
//! Order 32 on each axis: a key is a 64-bit number. The extent is fixed by the kind of CRS alone, not by the
//! data, so that no pass over the data is needed and that two versions of a dataset sort alike.

/// The square of the plane that the curve fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Smallest x and y.
    pub min: [f64; 2],
    /// Largest x and y.
    pub max: [f64; 2],
}

impl Extent {
    /// The whole world in degrees. A cell is 8e-8 degrees wide.
    pub const DEGREES: Self = Self { min: [-180.0, -90.0], max: [180.0, 90.0] };
    /// More than the whole world in any projection, in metres or feet. A cell is 7 cm (or 7 hundredths of a
    /// foot) wide.
    pub const PROJECTED: Self = Self { min: [-1.5e8, -1.5e8], max: [1.5e8, 1.5e8] };

    /// The key of a position; what lies outside has the key of the nearest position inside.
    pub fn key(&self, x: f64, y: f64) -> u64 {
        let cell = |value: f64, axis: usize| {
            let share = (value - self.min[axis]) / (self.max[axis] - self.min[axis]);
            // A float cast saturates: below 0 becomes 0, above the last cell the last cell.
            (share * 4_294_967_296.0) as u32
        };
        key_of_cell(cell(x, 0), cell(y, 1))
    }
}

/// The distance along the curve of a cell. (J. Skilling, "Programming the Hilbert curve", 2004; the form for two
/// axes as in H. S. Warren, "Hacker's Delight", 2nd ed., section 16-3.)
pub fn key_of_cell(mut x: u32, mut y: u32) -> u64 {
    let mut key = 0u64;
    for bit in (0..32).rev() {
        let side = 1u32 << bit;
        let right = u64::from((x >> bit) & 1);
        let upper = u64::from((y >> bit) & 1);
        key = (key << 2) | ((3 * right) ^ upper);
        if upper == 0 {
            if right == 1 {
                x = !x;
                y = !y;
            }
            std::mem::swap(&mut x, &mut y);
        }
        x &= side.wrapping_sub(1);
        y &= side.wrapping_sub(1);
    }
    key
}

/// The cell at a distance along the curve: the inverse of [`key_of_cell`].
pub fn cell_of_key(key: u64) -> (u32, u32) {
    let (mut x, mut y) = (0u32, 0u32);
    for bit in 0..32 {
        let pair = (key >> (2 * bit)) & 3;
        let right = (pair >> 1) as u32;
        let upper = ((pair as u32) ^ right) & 1;
        if upper == 0 {
            if right == 1 {
                let side = (1u32 << bit).wrapping_sub(1);
                x = side & !x;
                y = side & !y;
            }
            std::mem::swap(&mut x, &mut y);
        }
        x |= right << bit;
        y |= upper << bit;
    }
    (x, y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Extent, cell_of_key, key_of_cell};

    proptest! {
        #[test]
        fn a_key_leads_back_to_its_cell(x: u32, y: u32) {
            prop_assert_eq!(cell_of_key(key_of_cell(x, y)), (x, y));
        }

        #[test]
        fn the_next_key_is_a_neighbouring_cell(key in 0..u64::MAX) {
            let (x1, y1) = cell_of_key(key);
            let (x2, y2) = cell_of_key(key + 1);
            prop_assert_eq!(x1.abs_diff(x2) + y1.abs_diff(y2), 1);
        }

        #[test]
        fn cells_of_one_quadrant_share_the_keys_of_that_quadrant(x: u32, y: u32, bits in 1u32..32) {
            let corner = key_of_cell(x >> bits << bits, y >> bits << bits);
            prop_assert_eq!(key_of_cell(x, y) >> (2 * bits), corner >> (2 * bits));
        }

        #[test]
        fn any_number_has_a_key(x: f64, y: f64) {
            Extent::DEGREES.key(x, y);
        }
    }

    #[test]
    fn the_poles_and_the_date_line_are_inside() {
        let keys: Vec<_> = [(-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0)]
            .map(|(x, y)| Extent::DEGREES.key(x, y))
            .into();
        assert_eq!(keys[0], 0);
        assert!(keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key)));
    }
}
