//! The client against workers that misbehave: each is a shell script (run by `worker.sh`)
//! that does one bad thing.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, BinaryArray, Int32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use catchment_gdal::frame::{self, Kind};
use catchment_gdal::protocol::{CrsSource, SandboxReport, VERSION};
use catchment_gdal::{Limits, ReadRequest, ReadSummary, Trailer, VectorHeader, Worker};
use catchment_model::problem::{Code, Problem};
use catchment_model::space::Crs;
use catchment_settings::clock;

struct Stage {
    folder: tempfile::TempDir,
    worker: Worker,
}

impl Stage {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The program itself is never written by a test: another thread's fork could hold it open for writing,
        // and the system would refuse to start it.
        let binary = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker.sh"));
        fs::write(folder.path().join("script"), script.replace('@', &folder.path().display().to_string())).unwrap();
        fs::create_dir(folder.path().join("scratch")).unwrap();
        Self { worker: Worker { binary, limits: Limits::default() }, folder }
    }

    /// A worker that sends these bytes and ends well.
    fn sending(bytes: &[u8]) -> Self {
        let stage = Self::new("cat @/bytes");
        fs::write(stage.path("bytes"), bytes).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self) -> ReadRequest {
        ReadRequest {
            path: self.path("town.gpkg"),
            format: "GPKG".to_owned(),
            crs: None,
            layer: None,
            scratch: self.path("scratch"),
            on_line: Some(Arc::new(|_| {})),
        }
    }

    async fn read(&self) -> Result<(u64, ReadSummary), Problem> {
        let mut reader = self.worker.read_vector(self.request()).await?;
        let mut rows = 0;
        while let Some(batch) = reader.next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok((rows, reader.finish().await?))
    }
}

fn header() -> VectorHeader {
    VectorHeader {
        version: VERSION,
        gdal_version: "3.6.2".to_owned(),
        driver: "GPKG".to_owned(),
        archive_member: None,
        layer: "town".to_owned(),
        layers: vec!["town".to_owned()],
        geometry_type: "POINT".to_owned(),
        has_z: false,
        has_m: false,
        crs: Crs {
            name: "WGS 84".to_owned(),
            authority: Some("EPSG:4326".to_owned()),
            wkt: "GEOGCRS[]".to_owned(),
            projjson: serde_json::json!({}),
        },
        crs_source: CrsSource::File,
        is_geographic: true,
        feature_count: Some(4),
        extent: None,
        fields: Vec::new(),
        encoding: None,
        sandbox: SandboxReport::default(),
        startup_ms: 1.0,
    }
}

/// A whole and sound answer: two batches of two rows.
fn answer(claimed_rows: u64) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("geom", DataType::Binary, true),
    ]));
    let ids = Int32Array::from(vec![1, 2]);
    let geometries = BinaryArray::from_opt_vec(vec![Some(b"wkb".as_slice()), None]);
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), Arc::new(geometries)]).unwrap();
    let mut out = Vec::new();
    frame::write_json(&mut out, Kind::Header, &header()).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for step in 0..4 {
        match step {
            1 | 2 => writer.write(&batch).unwrap(),
            3 => writer.finish().unwrap(),
            _ => {}
        }
        frame::write(&mut out, Kind::Arrow, &std::mem::take(writer.get_mut())).unwrap();
    }
    let trailer = Trailer { rows: claimed_rows, batches: 2, ..Trailer::default() };
    frame::write_json(&mut out, Kind::Trailer, &trailer).unwrap();
    out
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while !is_so() {
        assert!(clock::monotonic() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_sound_answer_gives_every_row_and_the_account() {
    let stage = Stage::sending(&answer(4));
    let (rows, summary) = stage.read().await.unwrap();
    assert_eq!(rows, 4);
    assert_eq!(summary.trailer.batches, 2);
    assert_eq!(summary.bytes, answer(4).len() as u64);
    assert!(summary.peak_rss > 0);
    assert_eq!(fs::read_dir(stage.path("scratch")).unwrap().count(), 0, "its scratch folder is gone");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_anywhere_is_never_taken_for_whole() {
    let whole = answer(4);
    for cut in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
        let problem = Stage::sending(&whole[..cut]).read().await.unwrap_err();
        assert_eq!(problem.code, Code::WorkerCrashed, "cut at {cut}: {problem}");
    }
}

#[tokio::test]
async fn a_wrong_count_and_garbage_are_refused() {
    for bytes in [answer(5), b"hello, this is not a frame at all".to_vec()] {
        let problem = Stage::sending(&bytes).read().await.unwrap_err();
        assert_eq!(problem.code, Code::WorkerCrashed);
        assert!(problem.what.contains("makes no sense"), "{problem}");
    }
}

#[tokio::test]
async fn arrow_messages_that_were_tampered_with_end_in_an_error_and_not_in_a_crash() {
    let whole = answer(4);
    let start = whole.windows(4).position(|window| window == b"ARRW").unwrap() + frame::PREFIX;
    for at in (start..start + 600).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        // Some bytes are padding or names: those change nothing that could be noticed.
        if let Err(problem) = Stage::sending(&bytes).read().await {
            assert!(matches!(problem.code, Code::WorkerCrashed | Code::Bug), "{at}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_problem_that_the_worker_reports_comes_as_it_is() {
    let said = Problem::new(Code::CrsMissing, "no CRS").place("a.shp").remedy("add one");
    let mut bytes = Vec::new();
    frame::write_json(&mut bytes, Kind::Failure, &said).unwrap();
    assert_eq!(Stage::sending(&bytes).read().await.unwrap_err(), said);
}

#[tokio::test]
async fn a_crash_names_the_signal_the_file_and_the_last_words() {
    let stage = Stage::new("echo 'about to die' >&2; kill -SEGV $$");
    let problem = stage.read().await.unwrap_err();
    assert_eq!(problem.code, Code::WorkerCrashed);
    let cause = problem.cause.unwrap();
    assert!(cause.contains("SIGSEGV") && cause.contains("about to die"), "{cause}");
    assert!(problem.place.unwrap().ends_with("town.gpkg"));
}

#[tokio::test]
async fn memory_and_processor_time_that_ran_out_are_named() {
    let problem = Stage::new("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$").read().await.unwrap_err();
    assert_eq!(problem.code, Code::LimitExceeded);
    assert!(problem.what.contains("memory"), "{problem}");
    let problem = Stage::new("kill -XCPU $$").read().await.unwrap_err();
    assert_eq!(problem.code, Code::LimitExceeded);
    assert!(problem.what.contains("processor time"), "{problem}");
}

#[tokio::test]
async fn a_worker_that_hangs_is_killed_with_its_children() {
    let mut stage = Stage::new("sleep 1000 & echo $! > @/child; echo $$ > @/pid; wait");
    stage.worker.limits.wait = Duration::from_millis(400);
    let problem = stage.read().await.unwrap_err();
    assert_eq!(problem.code, Code::LimitExceeded);
    assert!(problem.what.contains("longer than"), "{problem}");
    for name in ["pid", "child"] {
        let pid = fs::read_to_string(stage.path(name)).unwrap();
        until("the process to be gone", || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn dropping_the_reader_or_the_future_kills_the_worker() {
    let stage = Stage::new("echo $$ > @/pid; exec sleep 1000");
    let pid = stage.path("pid");
    let reading = stage.worker.read_vector(stage.request());
    let given_up = tokio::time::timeout(Duration::from_millis(1), async {
        tokio::pin!(reading);
        reading.await.map(drop)
    });
    assert!(given_up.await.is_err());
    until("the scratch folder to be gone", || fs::read_dir(stage.path("scratch")).unwrap().count() == 0).await;
    if let Ok(pid) = fs::read_to_string(&pid) {
        assert!(!is_alive(&pid));
    }

    let whole = answer(4);
    let head = whole.windows(4).rposition(|window| window == b"ARRW").unwrap();
    let stage = Stage::new("echo $$ > @/pid; cat @/bytes; exec sleep 1000");
    fs::write(stage.path("bytes"), &whole[..head]).unwrap();
    let reader = stage.worker.read_vector(stage.request()).await.unwrap();
    let pid = fs::read_to_string(stage.path("pid")).unwrap();
    assert!(is_alive(&pid));
    drop(reader);
    until("the worker to be gone", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn a_reader_that_is_slow_is_not_the_workers_fault() {
    let mut stage = Stage::sending(&answer(4));
    stage.worker.limits.wait = Duration::from_millis(700);
    let mut reader = stage.worker.read_vector(stage.request()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut rows = 0;
    while let Some(batch) = reader.next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 4);
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_named() {
    let stage = Stage::new("true");
    let worker = Worker::new(Path::new("/nowhere/catchment-gdal"));
    let problem = worker.read_vector(stage.request()).await.unwrap_err();
    assert_eq!(problem.code, Code::Unavailable);
    assert_eq!(problem.place.unwrap(), "/nowhere/catchment-gdal");
}

#[tokio::test]
async fn what_the_worker_says_is_passed_on_line_by_line_and_nothing_of_the_environment_reaches_it() {
    let stage = Stage::new("echo one >&2; env | sed 's/=.*//' | sort | tr '\\n' ' ' >&2; echo >&2; exit 3");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let request = ReadRequest {
        on_line: Some(Arc::new(move |line| sink.lock().unwrap().push(line.to_owned()))),
        ..stage.request()
    };
    let problem = stage.worker.read_vector(request).await.unwrap_err();
    assert!(problem.cause.unwrap().contains("exit status 3"));
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0], "one");
    // PWD, OLDPWD, SHLVL and `_` are the shell's own.
    let names: Vec<&str> =
        heard[1].split_whitespace().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(names, ["LANG", "LC_ALL"]);
}

#[tokio::test]
async fn batches_use_the_buffer_that_they_arrived_in() {
    let stage = Stage::sending(&answer(4));
    let mut reader = stage.worker.read_vector(stage.request()).await.unwrap();
    let batch = reader.next().await.unwrap().unwrap();
    let ids = batch.column(0).to_data();
    let geometries = batch.column(1).to_data();
    // Both columns hold on to one allocation: the frame.
    assert_eq!(ids.buffers()[0].data_ptr(), geometries.buffers()[0].data_ptr());
}
