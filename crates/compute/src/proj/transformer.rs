//! The transformation of many coordinates from one CRS to another.

use std::collections::BTreeMap;
use std::ptr::NonNull;

use catchment_model::{Code, Crs, Problem};
use proj_sys as sys;

use super::context::Context;
use super::{equivalent, source_text};

/// Transforms x, y and heights in place, in the order x, y (longitude, latitude) on both sides whatever axis order
/// the CRSs declare. PROJ chooses among its operations for each coordinate by their areas of use, as `ogr2ogr`
/// does; those that were used are kept.
pub struct Transformer {
    projection: Option<NonNull<sys::PJ>>,
    used: BTreeMap<String, Option<f64>>,
    context: Context,
}

// SAFETY: the projection is of the context that moves with it, and `&mut self` is needed to use either.
unsafe impl Send for Transformer {}

impl Transformer {
    /// Prepares the way from `source` to `target`.
    pub fn new(source: &Crs, target: &Crs) -> Result<Self, Problem> {
        let context = Context::new()?;
        let projection = {
            let from = context.crs(&source_text(source))?;
            let to = context.crs(&source_text(target))?;
            if equivalent(&context, &from, &to) {
                None
            } else {
                let impossible = || {
                    Problem::new(Code::CrsInvalid, "there is no way from one CRS to the other")
                        .place(format!("{} to {}", source.label(), target.label()))
                        .cause(context.last_error())
                };
                // SAFETY: both CRSs are of this context and live; the results are owned.
                let raw = unsafe {
                    let null = std::ptr::null_mut();
                    sys::proj_create_crs_to_crs_from_pj(context.raw(), from.raw(), to.raw(), null, std::ptr::null())
                };
                let declared = context.own(raw).ok_or_else(impossible)?;
                // SAFETY: as above.
                let normalized = unsafe { sys::proj_normalize_for_visualization(context.raw(), declared.raw()) };
                Some(context.own(normalized).ok_or_else(impossible)?.release())
            }
        };
        Ok(Self { projection, used: BTreeMap::new(), context })
    }

    /// Whether there is nothing to do, since coordinates mean the same on both sides.
    pub fn is_identity(&self) -> bool {
        self.projection.is_none()
    }

    /// Transforms in place. `z` is empty, or as long as `x` and `y`. What cannot be transformed becomes infinite:
    /// the caller looks, and can say what it was.
    pub fn transform(&mut self, x: &mut [f64], y: &mut [f64], z: &mut [f64]) {
        let Some(projection) = self.projection else { return };
        if x.is_empty() {
            return;
        }
        let (count, heights) = (x.len().min(y.len()), z.len().min(x.len()));
        let step = size_of::<f64>();
        // SAFETY: pointers, strides and counts describe the slices; a count of zero lets PROJ ignore the pointer.
        unsafe {
            sys::proj_errno_reset(projection.as_ptr());
            sys::proj_trans_generic(
                projection.as_ptr(),
                sys::PJ_DIRECTION_PJ_FWD,
                x.as_mut_ptr(),
                step,
                count,
                y.as_mut_ptr(),
                step,
                count,
                if heights == 0 { std::ptr::null_mut() } else { z.as_mut_ptr() },
                step,
                heights,
                std::ptr::null_mut(),
                0,
                0,
            );
        }
        self.note_operation(projection);
    }

    /// The operations used so far, by name, each with its accuracy in metres where it is known.
    pub fn used(&self) -> &BTreeMap<String, Option<f64>> {
        &self.used
    }

    fn note_operation(&mut self, projection: NonNull<sys::PJ>) {
        // SAFETY: the projection is live; the operation is owned by us; texts are copied.
        unsafe {
            let Some(operation) = self.context.own(sys::proj_trans_get_last_used_operation(projection.as_ptr())) else {
                return;
            };
            let info = sys::proj_pj_info(operation.raw());
            let Some(name) = super::copied(info.description) else { return };
            let accuracy = sys::proj_coordoperation_get_accuracy(self.context.raw(), operation.raw());
            let name = without_axis_order(&name);
            self.used.insert(name, (accuracy >= 0.0).then_some(accuracy));
        }
    }
}

/// PROJ appends how it reorders axes, which says nothing about the operation.
fn without_axis_order(name: &str) -> String {
    let steps: Vec<_> =
        name.split(" + ").filter(|step| !step.to_ascii_lowercase().starts_with("axis order change")).collect();
    if steps.is_empty() { name.to_owned() } else { steps.join(" + ") }
}

impl Drop for Transformer {
    fn drop(&mut self) {
        if let Some(projection) = self.projection {
            // SAFETY: owned, destroyed once, before the context (fields are dropped after this).
            unsafe {
                sys::proj_destroy(projection.as_ptr());
            }
        }
    }
}
