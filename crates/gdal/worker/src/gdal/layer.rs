//! A dataset, its layers, and a layer's Arrow stream.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::path::Path;
use std::ptr;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use catchment_model::problem::Problem;
use catchment_model::space::Bounds;
use gdal_sys::{ArrowArrayStream, GDALDatasetH, OGREnvelope, OGRLayerH, OGRwkbGeometryType};

use super::{OPEN_VECTOR, SpatialRef, StringList, c_path, text};

/// A dataset that is open for reading.
pub(crate) struct Dataset(GDALDatasetH);

impl Dataset {
    /// Opens the file with exactly this driver, or tells by `None` that it does not open; why is in the
    /// messages.
    pub(crate) fn open(path: &Path, driver: &str, options: &[&str]) -> Result<Option<Self>, Problem> {
        let path = c_path(path)?;
        let drivers = StringList::new(&[driver]);
        let options = StringList::new(options);
        // SAFETY: path and lists live across the call.
        let handle = unsafe {
            gdal_sys::GDALOpenEx(path.as_ptr(), OPEN_VECTOR, drivers.as_ptr(), options.as_ptr(), ptr::null())
        };
        Ok((!handle.is_null()).then_some(Self(handle)))
    }

    /// Its layers, in order.
    pub(crate) fn layers(&self) -> Vec<Layer<'_>> {
        // SAFETY: the dataset is open; a layer lives as long as it does, which the lifetime says.
        unsafe {
            (0..gdal_sys::GDALDatasetGetLayerCount(self.0))
                .map(|index| gdal_sys::GDALDatasetGetLayer(self.0, index))
                .filter(|layer| !layer.is_null())
                .map(|handle| Layer { handle, _dataset: PhantomData })
                .collect()
        }
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        // SAFETY: the dataset is open, and no layer of it can be in use any more.
        unsafe { gdal_sys::GDALClose(self.0) };
    }
}

/// One layer.
pub(crate) struct Layer<'a> {
    handle: OGRLayerH,
    _dataset: PhantomData<&'a Dataset>,
}

impl Layer<'_> {
    pub(crate) fn name(&self) -> String {
        // SAFETY: the layer lives; the answer is copied.
        unsafe { text(gdal_sys::OGR_L_GetName(self.handle)) }
    }

    /// The declared geometry type, as in WKB by OGR (curves too, with Z and M).
    pub(crate) fn geometry_type(&self) -> OGRwkbGeometryType::Type {
        // SAFETY: the layer lives.
        unsafe { gdal_sys::OGR_L_GetGeomType(self.handle) }
    }

    /// The names of its geometry fields; a nameless one is an empty string.
    pub(crate) fn geometry_fields(&self) -> Vec<String> {
        // SAFETY: the layer lives, its definition with it; the answers are copied.
        unsafe {
            let definition = gdal_sys::OGR_L_GetLayerDefn(self.handle);
            (0..gdal_sys::OGR_FD_GetGeomFieldCount(definition))
                .map(|index| text(gdal_sys::OGR_GFld_GetNameRef(gdal_sys::OGR_FD_GetGeomFieldDefn(definition, index))))
                .collect()
        }
    }

    pub(crate) fn spatial_ref(&self) -> Option<SpatialRef> {
        // SAFETY: the layer lives; the reference is cloned.
        unsafe { SpatialRef::clone_of(gdal_sys::OGR_L_GetSpatialRef(self.handle)) }
    }

    /// The number of features where that is known without reading them.
    pub(crate) fn cheap_count(&self) -> Option<u64> {
        // SAFETY: the layer lives.
        let count = unsafe {
            if gdal_sys::OGR_L_TestCapability(self.handle, c"FastFeatureCount".as_ptr()) == 0 {
                return None;
            }
            gdal_sys::OGR_L_GetFeatureCount(self.handle, 0)
        };
        u64::try_from(count).ok()
    }

    /// The extent where that is known without reading the features.
    pub(crate) fn cheap_extent(&self) -> Option<Bounds> {
        let mut envelope = MaybeUninit::<OGREnvelope>::zeroed();
        // SAFETY: the layer lives; the envelope is valid when zeroed and is filled where the call succeeds.
        let envelope = unsafe {
            if gdal_sys::OGR_L_TestCapability(self.handle, c"FastGetExtent".as_ptr()) == 0
                || gdal_sys::OGR_L_GetExtent(self.handle, envelope.as_mut_ptr(), 0) != gdal_sys::OGRErr::OGRERR_NONE
            {
                return None;
            }
            envelope.assume_init()
        };
        let bounds = Bounds { minx: envelope.MinX, miny: envelope.MinY, maxx: envelope.MaxX, maxy: envelope.MaxY };
        [bounds.minx, bounds.miny, bounds.maxx, bounds.maxy].iter().all(|edge| edge.is_finite()).then_some(bounds)
    }

    /// An item of the layer's metadata.
    pub(crate) fn metadata_item(&self, key: &std::ffi::CStr, domain: &std::ffi::CStr) -> Option<String> {
        // SAFETY: the layer lives; the answer is copied.
        let item = unsafe { text(gdal_sys::GDALGetMetadataItem(self.handle.cast(), key.as_ptr(), domain.as_ptr())) };
        (!item.is_empty()).then_some(item)
    }

    /// The layer's features as an Arrow stream without FIDs. The error is GDAL's word, or empty where it
    /// says nothing.
    pub(crate) fn arrow_stream(&self, rows_per_batch: u64) -> Result<ArrowStream<'_>, String> {
        let batch = format!("MAX_FEATURES_IN_BATCH={rows_per_batch}");
        let mut options = StringList::new(&["INCLUDE_FID=NO", &batch]);
        let mut stream = MaybeUninit::<ArrowArrayStream>::zeroed();
        // SAFETY: the layer lives as long as the stream, which the lifetime says. A zeroed stream is a
        // released one; the call fills it where it succeeds.
        unsafe {
            if !gdal_sys::OGR_L_GetArrowStream(self.handle, stream.as_mut_ptr(), options.as_mut_ptr()) {
                return Err(String::new());
            }
            ArrowStream::begin(stream.assume_init())
        }
    }
}

/// A stream of record batches by the Arrow C stream interface.
pub(crate) struct ArrowStream<'a> {
    stream: ArrowArrayStream,
    schema: SchemaRef,
    _layer: PhantomData<&'a ()>,
}

impl ArrowStream<'_> {
    fn begin(stream: ArrowArrayStream) -> Result<Self, String> {
        let mut this = Self { stream, schema: Schema::empty().into(), _layer: PhantomData };
        let mut schema = FFI_ArrowSchema::empty();
        let Some(get_schema) = this.stream.get_schema else { return Err("the stream is released".to_owned()) };
        // SAFETY: the stream lives; GDAL's `ArrowSchema` and arrow's are the same C struct by the Arrow C
        // data interface.
        let status = unsafe { get_schema(&raw mut this.stream, (&raw mut schema).cast()) };
        if status != 0 {
            return Err(this.last_error(status));
        }
        this.schema = Schema::try_from(&schema).map_err(|error| error.to_string())?.into();
        Ok(this)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch, `None` at the end, or GDAL's word about what is wrong.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        let Some(get_next) = self.stream.get_next else { return Err("the stream is released".to_owned()) };
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: as for the schema.
        let status = unsafe { get_next(&raw mut self.stream, (&raw mut array).cast()) };
        if status != 0 {
            return Err(self.last_error(status));
        }
        if array.is_released() {
            return Ok(None);
        }
        // SAFETY: the array is of the stream's schema, as the interface demands of GDAL.
        let data = unsafe { from_ffi_and_data_type(array, DataType::Struct(self.schema.fields().clone())) }
            .map_err(|error| error.to_string())?;
        let rows = StructArray::from(data);
        let count = rows.len();
        RecordBatch::try_new_with_options(
            self.schema.clone(),
            rows.into_parts().1,
            &RecordBatchOptions::new().with_row_count(Some(count)),
        )
        .map(Some)
        .map_err(|error| error.to_string())
    }

    fn last_error(&mut self, status: c_int) -> String {
        let said = self.stream.get_last_error.map(|get_last_error| {
            // SAFETY: the stream lives; the answer is copied.
            unsafe { text(get_last_error(&raw mut self.stream)) }
        });
        match said {
            Some(said) if !said.is_empty() => said,
            _ => std::io::Error::from_raw_os_error(status).to_string(),
        }
    }
}

impl Drop for ArrowStream<'_> {
    fn drop(&mut self) {
        if let Some(release) = self.stream.release {
            // SAFETY: the stream is released once, by its own function.
            unsafe { release(&raw mut self.stream) };
        }
    }
}
