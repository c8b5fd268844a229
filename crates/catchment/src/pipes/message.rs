//! The messages of the protocol, and what of a line is one.

use catchment_core::Level;
use catchment_core::metadata::Metadata;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::metadata;
use crate::check::Severity;

/// The key that tells a message from a log line.
pub(super) const VERSION: &str = "__dagster_pipes_version";

/// A message of the process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// The process opened Pipes; what it says about itself.
    Opened(Value),
    /// A line for the run's log.
    Log(Level, String),
    /// An asset was made.
    Materialization(PipesMaterialization),
    /// A check was evaluated.
    Check(PipesCheck),
    /// Whatever the launching code understands.
    Custom(Value),
    /// Text that the process wrote elsewhere.
    Stream(Stream, String),
    /// The process closed Pipes; with the exception that ended it.
    Closed(Option<Value>),
}

/// An asset that the process made.
#[derive(Debug, Clone, PartialEq)]
pub struct PipesMaterialization {
    /// The asset's key.
    pub asset_key: String,
    /// What the process says about it.
    pub metadata: Metadata,
    /// The version of its data, where the process gave one.
    pub data_version: Option<String>,
}

/// A check that the process evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct PipesCheck {
    /// The asset's key.
    pub asset_key: String,
    /// The check's name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// How bad its failure is.
    pub severity: Severity,
    /// What the process says about it.
    pub metadata: Metadata,
}

/// A standard stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

impl Stream {
    /// Its name, as in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    /// A message.
    Message(Message),
    /// Ordinary output.
    Other,
    /// A message that breaks the protocol: why.
    Wrong(String),
}

/// Reads a line.
pub(super) fn read(line: &str) -> Read {
    // Ordinary output is never parsed: it may be much.
    if !line.trim_start().starts_with('{') || !line.contains(VERSION) {
        return Read::Other;
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(line) else { return Read::Other };
    if !object.contains_key(VERSION) {
        return Read::Other;
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Read::Wrong("it names no method".into());
    };
    let params = object.remove("params").unwrap_or_default();
    match message(&method, params) {
        Ok(message) => Read::Message(message),
        Err(why) => Read::Wrong(format!("`{method}`: {why}")),
    }
}

fn message(method: &str, params: Value) -> Result<Message, String> {
    Ok(match method {
        "opened" => Message::Opened(member(params, "extras")),
        "closed" => {
            let exception = member(params, "exception");
            Message::Closed((!exception.is_null()).then_some(exception))
        }
        "log" => {
            let sent: SentLog = read_params(params)?;
            Message::Log(level(sent.level.as_deref().unwrap_or("INFO"))?, sent.message)
        }
        "report_asset_materialization" => {
            let sent: SentMaterialization = read_params(params)?;
            Message::Materialization(PipesMaterialization {
                asset_key: asset_key(&sent.asset_key)?,
                metadata: metadata::convert(sent.metadata.unwrap_or_default())?,
                data_version: sent.data_version,
            })
        }
        "report_asset_check" => {
            let sent: SentCheck = read_params(params)?;
            Message::Check(PipesCheck {
                asset_key: asset_key(&sent.asset_key)?,
                name: sent.check_name,
                passed: sent.passed,
                severity: sent.severity.unwrap_or_default(),
                metadata: metadata::convert(sent.metadata.unwrap_or_default())?,
            })
        }
        "report_custom_message" => match params {
            Value::Object(mut params) if params.contains_key("payload") => {
                Message::Custom(params.remove("payload").unwrap_or_default())
            }
            _ => return Err("it has no `payload`".into()),
        },
        "log_external_stream" => {
            let sent: SentStream = read_params(params)?;
            Message::Stream(sent.stream, sent.text)
        }
        _ => return Err("this method is not known".into()),
    })
}

#[derive(Deserialize)]
struct SentLog {
    message: String,
    level: Option<String>,
}

#[derive(Deserialize)]
struct SentMaterialization {
    asset_key: String,
    data_version: Option<String>,
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct SentCheck {
    asset_key: String,
    check_name: String,
    passed: bool,
    severity: Option<Severity>,
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct SentStream {
    stream: Stream,
    text: String,
}

fn read_params<T: DeserializeOwned>(params: Value) -> Result<T, String> {
    serde_json::from_value(params).map_err(|error| error.to_string())
}

fn member(params: Value, name: &str) -> Value {
    match params {
        Value::Object(mut params) => params.remove(name).unwrap_or_default(),
        _ => Value::Null,
    }
}

/// A level of Python's `logging` by its name, in any case. One of the caller's own, `Level 15`, falls to the next
/// lower one that has a name.
fn level(name: &str) -> Result<Level, String> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "DEBUG" | "NOTSET" => Level::Debug,
        "INFO" => Level::Info,
        "WARNING" | "WARN" => Level::Warning,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        other => match other.strip_prefix("LEVEL ").and_then(|number| number.parse::<i32>().ok()) {
            Some(40..) => Level::Error,
            Some(30..) => Level::Warning,
            Some(20..) => Level::Info,
            Some(_) => Level::Debug,
            None => return Err(format!("`{name}` is no level of Python's logging")),
        },
    })
}

/// A key as Pipes escapes it: `/` separates the parts, `\` takes the meaning from the character after it.
///
/// # Errors
/// Where a part holds a `/` of its own, or is empty.
pub(super) fn asset_key(escaped: &str) -> Result<String, String> {
    let mut key = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('/') => return Err(format!("the asset key `{escaped}` has a part that holds a `/`")),
                Some(plain) => key.push(plain),
                None => return Err(format!("the asset key `{escaped}` ends with a single backslash")),
            },
            plain => key.push(plain),
        }
    }
    if key.split('/').any(str::is_empty) {
        return Err(format!("the asset key `{escaped}` has an empty part"));
    }
    Ok(key)
}

/// The same the other way.
pub(super) fn escaped(asset_key: &str) -> String {
    asset_key.replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use catchment_core::Level;
    use serde_json::{Value, json};

    use super::{Message, Read, Severity, Stream, asset_key, escaped, read};

    fn sent(method: &str, params: Value) -> Read {
        read(&json!({"__dagster_pipes_version": "7", "method": method, "params": params}).to_string())
    }

    #[test]
    fn only_an_object_with_the_version_key_is_a_message() {
        for line in ["", "hello", "{", "{}", r#"{"method":"opened"}"#, r#"["__dagster_pipes_version"]"#] {
            assert_eq!(read(line), Read::Other, "{line}");
        }
        assert_eq!(read(r#"{"a": "__dagster_pipes_version"}"#), Read::Other);
        assert_eq!(sent("opened", json!({"extras": {"a": 1}})), Read::Message(Message::Opened(json!({"a": 1}))));
    }

    #[test]
    fn every_method_is_read() {
        assert_eq!(sent("closed", json!({})), Read::Message(Message::Closed(None)));
        assert_eq!(sent("closed", Value::Null), Read::Message(Message::Closed(None)));
        let exception = json!({"message": "no"});
        assert_eq!(sent("closed", json!({"exception": exception})), Read::Message(Message::Closed(Some(exception))));
        let log = Message::Log(Level::Error, "m".into());
        assert_eq!(sent("log", json!({"message": "m", "level": "CRITICAL"})), Read::Message(log));
        let log = Message::Log(Level::Debug, "m".into());
        assert_eq!(sent("log", json!({"message": "m", "level": "Level 15"})), Read::Message(log));
        let stream = Message::Stream(Stream::Stderr, "t".into());
        assert_eq!(
            sent("log_external_stream", json!({"stream": "stderr", "text": "t", "extras": {}})),
            Read::Message(stream)
        );
        assert_eq!(
            sent("report_custom_message", json!({"payload": null})),
            Read::Message(Message::Custom(Value::Null))
        );
        let made = json!({"asset_key": "a/b", "data_version": "v", "metadata": {"n": {"raw_value": 1, "type": "int"}}});
        let Read::Message(Message::Materialization(made)) = sent("report_asset_materialization", made) else {
            panic!()
        };
        assert_eq!((made.asset_key.as_str(), made.data_version.as_deref(), made.metadata.len()), ("a/b", Some("v"), 1));
        let check = json!({"asset_key": "a", "check_name": "c", "passed": false, "severity": "WARN", "metadata": null});
        let Read::Message(Message::Check(check)) = sent("report_asset_check", check) else { panic!() };
        assert_eq!((check.name.as_str(), check.passed, check.severity), ("c", false, Severity::Warn));
    }

    #[test]
    fn what_breaks_the_protocol_is_told() {
        for (method, params, part) in [
            ("launch", json!({}), "not known"),
            ("log", json!({"level": "INFO"}), "message"),
            ("log", json!({"message": "m", "level": "LOUD"}), "LOUD"),
            ("report_asset_check", json!({"asset_key": "a", "check_name": "c", "passed": 1}), "boolean"),
            ("report_asset_materialization", json!({"asset_key": ""}), "empty part"),
            ("report_custom_message", json!({}), "payload"),
        ] {
            let Read::Wrong(why) = sent(method, params) else { panic!("{method}") };
            assert!(why.contains(method) && why.contains(part), "{why}");
        }
        assert_eq!(read(r#"{"__dagster_pipes_version":"0.1"}"#), Read::Wrong("it names no method".into()));
    }

    #[test]
    fn an_asset_key_survives_its_escape() {
        for key in ["a", "a/b/c", r"wei\rd/x", "städte/größe"] {
            assert_eq!(asset_key(&escaped(key)).unwrap(), key);
        }
        assert!(asset_key(r"a\/b").is_err());
    }
}
