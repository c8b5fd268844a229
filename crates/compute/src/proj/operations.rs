//! Whether a better operation exists than the one that was used.

use std::ffi::{c_char, c_int};
use std::ptr::{NonNull, null, null_mut};

use catchment_model::{Crs, Problem};
use proj_sys as sys;

use super::context::{Context, Object};
use super::{copied, source_text};

/// Looks for an operation from `source` to `target` that is more accurate than `accuracy` metres (`None`: unknown,
/// so anything is better), covers `area` (west, south, east, north in degrees), and could not be used since a grid
/// is missing. Returns a sentence with its name, its accuracy and the grids to install into a folder of `PROJ_DATA`.
pub fn better_operation(
    source: &Crs,
    target: &Crs,
    accuracy: Option<f64>,
    area: Option<[f64; 4]>,
) -> Result<Option<String>, Problem> {
    let context = Context::new()?;
    let from = context.crs(&source_text(source))?;
    let to = context.crs(&source_text(target))?;
    let Some(list) = Candidates::find(&context, &from, &to, area) else { return Ok(None) };
    let mut best: Option<(f64, String)> = None;
    for index in 0..list.len() {
        let Some(operation) = list.get(index) else { continue };
        // SAFETY: the operation is of this context and live.
        let (usable, own) = unsafe {
            (
                sys::proj_coordoperation_is_instantiable(context.raw(), operation.raw()) != 0,
                sys::proj_coordoperation_get_accuracy(context.raw(), operation.raw()),
            )
        };
        let better = own >= 0.0
            && accuracy.is_none_or(|used| own < used)
            && best.as_ref().is_none_or(|(so_far, _)| own < *so_far);
        if !usable && better && area.is_none_or(|area| covers(&context, &operation, area)) {
            let missing = missing_grids(&context, &operation);
            if !missing.is_empty() {
                // SAFETY: as above; the text is copied.
                let name = unsafe { copied(sys::proj_get_name(operation.raw())) }.unwrap_or_default();
                best = Some((own, format!("{name} ({own} m) needs {}", missing.join(", "))));
            }
        }
    }
    Ok(best.map(|(_, note)| note))
}

struct Candidates<'a> {
    context: &'a Context,
    raw: NonNull<sys::PJ_OBJ_LIST>,
}

impl<'a> Candidates<'a> {
    /// All operations, as if every grid were there.
    fn find(context: &'a Context, from: &Object<'_>, to: &Object<'_>, area: Option<[f64; 4]>) -> Option<Self> {
        // SAFETY: all objects are of this context; the factory is destroyed here, the list by `Drop`.
        unsafe {
            let factory = sys::proj_create_operation_factory_context(context.raw(), null());
            if factory.is_null() {
                return None;
            }
            let ignore = sys::PROJ_GRID_AVAILABILITY_USE_PROJ_GRID_AVAILABILITY_IGNORED;
            sys::proj_operation_factory_context_set_grid_availability_use(context.raw(), factory, ignore);
            let partial = sys::PROJ_SPATIAL_CRITERION_PROJ_SPATIAL_CRITERION_PARTIAL_INTERSECTION;
            sys::proj_operation_factory_context_set_spatial_criterion(context.raw(), factory, partial);
            if let Some([west, south, east, north]) = area {
                sys::proj_operation_factory_context_set_area_of_interest(
                    context.raw(),
                    factory,
                    west,
                    south,
                    east,
                    north,
                );
            }
            let list = sys::proj_create_operations(context.raw(), from.raw(), to.raw(), factory);
            sys::proj_operation_factory_context_destroy(factory);
            NonNull::new(list).map(|raw| Self { context, raw })
        }
    }

    fn len(&self) -> c_int {
        // SAFETY: the list is live.
        unsafe { sys::proj_list_get_count(self.raw.as_ptr()) }
    }

    fn get(&self, index: c_int) -> Option<Object<'a>> {
        // SAFETY: the list is live and the index within it; the result is owned.
        self.context.own(unsafe { sys::proj_list_get(self.context.raw(), self.raw.as_ptr(), index) })
    }
}

impl Drop for Candidates<'_> {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::proj_list_destroy(self.raw.as_ptr()) }
    }
}

fn covers(context: &Context, operation: &Object<'_>, [west, south, east, north]: [f64; 4]) -> bool {
    let [mut w, mut s, mut e, mut n] = [0.0f64; 4];
    // SAFETY: the operation is of this context; the out-pointers are of live variables.
    let known = unsafe {
        sys::proj_get_area_of_use(
            context.raw(),
            operation.raw(),
            &raw mut w,
            &raw mut s,
            &raw mut e,
            &raw mut n,
            null_mut(),
        ) != 0
    };
    known && (w <= west && east <= e || w > e) && s <= south && north <= n
}

fn missing_grids(context: &Context, operation: &Object<'_>) -> Vec<String> {
    // SAFETY: the operation is of this context.
    let count = unsafe { sys::proj_coordoperation_get_grid_used_count(context.raw(), operation.raw()) };
    let mut missing = Vec::new();
    for index in 0..count {
        let mut name: *const c_char = null();
        let mut available: c_int = 0;
        // SAFETY: index is within the count; out-pointers that are not wanted may be null.
        let known = unsafe {
            sys::proj_coordoperation_get_grid_used(
                context.raw(),
                operation.raw(),
                index,
                &raw mut name,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut available,
            )
        };
        if known != 0 && available == 0 {
            // SAFETY: a text of the operation, copied.
            missing.extend(unsafe { copied(name) });
        }
    }
    missing
}
