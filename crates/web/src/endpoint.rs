//! One table of all addresses: the router and the OpenAPI document are both made from it, so that none is there
//! which is not described.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use catchment_model::Problem;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::App;

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Methods of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// What a good answer is.
enum Answer {
    Json(SchemaOf),
    Other(&'static str),
}

/// One address with its method: what it does, takes and answers.
pub(crate) struct Endpoint {
    verb: Verb,
    path: &'static str,
    summary: &'static str,
    query: Option<SchemaOf>,
    body: Option<SchemaOf>,
    answer: Answer,
    add: Box<dyn FnOnce(Router<App>) -> Router<App>>,
}

impl Endpoint {
    /// An address whose good answer is JSON of the type `T`.
    pub(crate) fn json<T: JsonSchema, H, A>(verb: Verb, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<A, App>,
        A: 'static,
    {
        Self::new(verb, path, summary, Answer::Json(SchemaGenerator::subschema_for::<T>), handler)
    }

    /// An address whose good answer has another media type.
    pub(crate) fn other<H, A>(
        verb: Verb,
        path: &'static str,
        summary: &'static str,
        media_type: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<A, App>,
        A: 'static,
    {
        Self::new(verb, path, summary, Answer::Other(media_type), handler)
    }

    fn new<H, A>(verb: Verb, path: &'static str, summary: &'static str, answer: Answer, handler: H) -> Self
    where
        H: Handler<A, App>,
        A: 'static,
    {
        let add = Box::new(move |router: Router<App>| router.route(path, on(verb.filter(), handler)));
        Self { verb, path, summary, query: None, body: None, answer, add }
    }

    /// Says what the query of the address takes.
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Says what the body takes.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Adds the address to a router.
    pub(crate) fn route(self, router: Router<App>) -> Router<App> {
        (self.add)(router)
    }

    fn operation(&self, schemas: &mut SchemaGenerator) -> Value {
        let mut parameters: Vec<Value> = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| name.trim_start_matches('*'))
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        if let Some(query) = self.query {
            parameters.extend(query_parameters(query));
        }
        let (media, schema) = match &self.answer {
            Answer::Json(schema) => ("application/json", schema(schemas).to_value()),
            Answer::Other(media) => (*media, json!({"type": "string"})),
        };
        let problem = schemas.subschema_for::<Problem>().to_value();
        let mut operation = json!({
            "operationId": self.operation_id(),
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Done.", "content": {media: {"schema": schema}}},
                "default": {
                    "description": "What is wrong; the status is the one of its code.",
                    "content": {"application/json": {"schema": problem}},
                },
            },
        });
        if let Some(body) = self.body {
            operation["requestBody"] = json!({"content": {"application/json": {"schema": body(schemas).to_value()}}});
        }
        if self.verb == Verb::Get && self.path.starts_with('/') && !self.path.starts_with("/api") {
            operation["security"] = json!([]);
        }
        operation
    }

    fn operation_id(&self) -> String {
        let words = self.path.trim_start_matches("/api/v1").split(['/', '-', '.']).filter(|part| !part.is_empty());
        let name: Vec<String> = words.map(|part| part.trim_matches(['{', '*', '}']).to_owned()).collect();
        format!("{}_{}", self.verb.name(), if name.is_empty() { "start_page".into() } else { name.join("_") })
    }
}

/// The query's fields as OpenAPI parameters.
fn query_parameters(schema_of: SchemaOf) -> Vec<Value> {
    let mut generator = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
    let schema = schema_of(&mut generator).to_value();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    properties
        .iter()
        .map(|(name, of)| {
            let mut of = of.clone();
            let description = of.as_object_mut().and_then(|o| o.remove("description")).unwrap_or_default();
            json!({"name": name, "in": "query", "required": required(name), "description": description, "schema": of})
        })
        .collect()
}

/// The OpenAPI 3.1 document of these endpoints.
pub(crate) fn openapi(endpoints: &[Endpoint]) -> Value {
    let mut schemas =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.verb.name()] = endpoint.operation(&mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Catchment",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs, datasets and their versions, manifests, and the care of the lake. Coordinates are in the order x, y; times are RFC 3339 in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "The token in the file api-token of CATCHMENT_HOME. Reads from the same machine need none.",
            }},
        },
    })
}
