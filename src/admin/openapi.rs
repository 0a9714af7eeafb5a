//! The versioned API and the stream of events, described in OpenAPI: served, and kept in `docs/proxy-openapi.json`.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use super::api::HttpChange;
use super::fault::WantedFault;

/// The OpenAPI document.
pub fn document() -> Value {
    // Definitions stand where OpenAPI has them.
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let fault = reference::<WantedFault>(&mut schemas);
    let change = reference::<HttpChange>(&mut schemas);
    let paths = [
        ("/v1/openapi.json", json!({"get": operation("This document", &[("200", "The document")])})),
        ("/v1/proxies", json!({"get": operation("Every proxy with its faults and counters", &[("200", "An array")])})),
        (
            "/v1/proxies/{proxy}",
            json!({
                "get": operation("One proxy", &[("200", "The proxy"), ("404", "No such proxy")]),
                "patch": with_body(
                    operation("Reads HTTP/1 from now on, or no longer; its connections close", &[
                        ("200", "The proxy"),
                        ("400", "A mistake in the body"),
                        ("404", "No such proxy"),
                        ("409", "Faults on requests stand on it"),
                    ]),
                    &change,
                ),
            }),
        ),
        (
            "/v1/proxies/{proxy}/faults",
            json!({
                "get": operation("All that stands on a proxy, toxics of the other API too", &[
                    ("200", "An array, in the order in which they came"),
                    ("404", "No such proxy"),
                ]),
                "post": with_body(
                    operation("Injects a fault, on open connections too", &[
                        ("201", "The fault"),
                        ("400", "A mistake in the body"),
                        ("404", "No such proxy"),
                        ("409", "The name is taken, or the proxy does not read HTTP"),
                    ]),
                    &fault,
                ),
            }),
        ),
        (
            "/v1/proxies/{proxy}/faults/{fault}",
            json!({
                "get": operation("A fault or toxic, with what it has met", &[("200", "The fault"), ("404", "No such fault")]),
                "put": with_body(
                    operation("Another fault in its place; a toxic of the same kind goes on counting", &[
                        ("200", "The fault"),
                        ("400", "A mistake in the body"),
                        ("404", "No such fault"),
                        ("409", "The proxy does not read HTTP"),
                    ]),
                    &fault,
                ),
                "delete": operation("Heals a fault or toxic", &[
                    ("200", "What it was, and what it has met"),
                    ("404", "No such fault"),
                ]),
            }),
        ),
        (
            "/v1/proxies/{proxy}/connections",
            json!({"get": operation("Its connections", &[("200", "An array"), ("404", "No such proxy")])}),
        ),
        (
            "/events",
            json!({"get": operation("What changes, as it changes (server-sent events)", &[("200", "text/event-stream")])}),
        ),
    ];
    let paths: serde_json::Map<String, Value> =
        paths.into_iter().map(|(path, operations)| (path.to_owned(), with_parameters(path, operations))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "brownout proxy",
            "version": "1",
            "description": "What `brownout proxy` serves beyond the Toxiproxy API. Errors are \
                            {\"error\": text, \"status\": code}.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn reference<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

fn operation(summary: &str, answers: &[(&str, &str)]) -> Value {
    let answers = answers.iter().map(|(status, text)| ((*status).to_owned(), json!({"description": text})));
    json!({"summary": summary, "responses": answers.collect::<serde_json::Map<_, _>>()})
}

fn with_body(mut operation: Value, schema: &Value) -> Value {
    operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    operation
}

/// Names in braces are parameters.
fn with_parameters(path: &str, mut operations: Value) -> Value {
    let named = path.split('/').filter_map(|name| name.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> =
        named.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    if !parameters.is_empty() {
        operations["parameters"] = parameters.into();
    }
    operations
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::route::{Path, find};
    use super::*;

    #[test]
    fn every_path_leads_somewhere_and_takes_just_the_methods_described() {
        let document = document();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let Path::To(route) = find(path) else { panic!("{path}") };
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let described = operations.get(method.as_str().to_lowercase()).is_some();
                assert_eq!(route.takes(&method), described, "{method} {path}");
            }
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        for reference in references {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        assert!(text.contains("#/components/schemas/"));
    }
}
