//! From YAML to a checked value, with every fault in its place.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use catchment_model::problem::{Code, Fault, Problem};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml_ng::{Mapping, Value};

/// A value that can say what is wrong with it, beyond the types of its fields.
pub(super) trait Checked {
    /// All faults; paths begin at `$`.
    fn faults(&self) -> Vec<Fault>;
}

/// Reads a file; `None` where it is not there.
pub(super) fn read<T>(path: &Path, get: impl Fn(&str) -> Option<String>) -> Result<Option<T>, Problem>
where
    T: DeserializeOwned + Checked + Default,
{
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path, get).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::new(Code::InvalidConfig, "a settings file cannot be read")
            .place(path.display().to_string())
            .cause(error.to_string())
            .remedy("see that it may be read and is text in UTF-8")),
    }
}

/// The same from its text; `path` is for its errors.
pub(super) fn parse<T>(text: &str, path: &Path, get: impl Fn(&str) -> Option<String>) -> Result<T, Problem>
where
    T: DeserializeOwned + Checked + Default,
{
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let wrong = |faults: Vec<Fault>| {
        Problem::new(Code::InvalidConfig, format!("{name} is not right"))
            .place(path.display().to_string())
            .faults(faults)
            .remedy("mend what is listed, then start again")
    };
    let mut value: Value = serde_yaml_ng::from_str(text).map_err(|e| {
        Problem::new(Code::InvalidConfig, format!("{name} is not YAML"))
            .place(path.display().to_string())
            .cause(e.to_string())
            .remedy("mend the place that is named; indentation is by spaces")
    })?;
    if value.is_null() {
        // An empty file, or one of comments only.
        return Ok(T::default());
    }
    let mut faults = Vec::new();
    let mut from_env = BTreeMap::new();
    fill_in(&mut value, "$", &get, &mut from_env, &mut faults);
    if !faults.is_empty() {
        return Err(wrong(faults));
    }
    let parsed: T = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = json_path(error.path());
        // The message of a wrong value quotes it, and a variable may hold a secret.
        let what = match from_env.get(&path) {
            Some(variable) => format!("the value of the variable {variable} does not fit here"),
            None => error.inner().to_string(),
        };
        let allowed = allowed(&what);
        let what = what.split([',', ';']).next().unwrap_or(&what).to_owned();
        wrong(vec![Fault { path, what, allowed }])
    })?;
    let faults = parsed.faults();
    if faults.is_empty() { Ok(parsed) } else { Err(wrong(faults)) }
}

/// Puts the values of variables in the place of `{env: NAME}`; notes where.
fn fill_in(
    value: &mut Value,
    path: &str,
    get: &impl Fn(&str) -> Option<String>,
    from_env: &mut BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    match value {
        Value::Mapping(mapping) => {
            if let Some(variable) = variable(mapping) {
                match get(&variable) {
                    Some(text) => {
                        *value = Value::String(text);
                        from_env.insert(path.to_owned(), variable);
                    }
                    None => faults.push(Fault {
                        path: path.to_owned(),
                        what: format!("the environment variable {variable} is not set"),
                        allowed: "a variable that is set, or the value itself".into(),
                    }),
                }
                return;
            }
            for (key, inner) in mapping.iter_mut() {
                let key = key.as_str().unwrap_or("?");
                fill_in(inner, &format!("{path}.{key}"), get, from_env, faults);
            }
        }
        Value::Sequence(items) => {
            for (place, item) in items.iter_mut().enumerate() {
                fill_in(item, &format!("{path}[{place}]"), get, from_env, faults);
            }
        }
        _ => {}
    }
}

/// The variable that `{env: NAME}` names.
fn variable(mapping: &Mapping) -> Option<String> {
    let only = mapping.len() == 1;
    mapping.get("env").filter(|_| only)?.as_str().map(str::to_owned)
}

fn json_path(path: &serde_path_to_error::Path) -> String {
    path.iter().fold("$".to_owned(), |so_far, segment| match segment {
        Segment::Seq { index } => format!("{so_far}[{index}]"),
        Segment::Map { key } => format!("{so_far}.{key}"),
        // Which of several shapes was tried is no place in the file.
        Segment::Enum { .. } | Segment::Unknown => so_far,
    })
}

/// What a message of serde says is allowed.
fn allowed(what: &str) -> String {
    let after = |word: &str| what.find(word).map(|at| what[at + word.len()..].to_owned());
    after("expected one of ")
        .or_else(|| after("expected "))
        .or_else(|| what.contains("missing field").then(|| "this field must be there".to_owned()))
        .unwrap_or_else(|| "see the documentation of this field".into())
}

/// A fault.
pub(super) fn fault(path: impl Into<String>, what: impl Into<String>, allowed: impl Into<String>) -> Fault {
    Fault { path: path.into(), what: what.into(), allowed: allowed.into() }
}
