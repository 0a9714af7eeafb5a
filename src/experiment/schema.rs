//! The JSON schema of the experiment file, from the same tables as the decoder: for editors, and `brownout schema`.

use serde_json::{Map, Value, json};

use super::shape::{Field, MapShape, ScalarShape, Shape};

/// The schema of a file of this shape (JSON Schema, 2020-12).
///
/// It is a little wider than the decoder: every scalar may be a text, since `${name}` may stand for it.
pub fn schema(title: &str, root: &Shape) -> Value {
    let mut definitions = Map::new();
    let root = of(root, &mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "allOf": [root],
        "$defs": definitions,
    })
}

fn of(shape: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Scalar(scalar) => of_scalar(scalar),
        Shape::Words(words) => of_words(words),
        Shape::List(items) => json!({ "type": "array", "items": of(&items(), definitions) }),
        Shape::Map(values) => json!({ "type": "object", "additionalProperties": of(&values(), definitions) }),
        Shape::Keys(keys) => of_keys(keys, definitions),
        Shape::Either(shapes) => {
            let any: Vec<Value> = shapes.iter().map(|shape| of(shape, definitions)).collect();
            json!({ "anyOf": any })
        }
        Shape::Named(name, inner) => {
            if !definitions.contains_key(*name) {
                // Taken before it is filled: a shape may contain itself.
                definitions.insert((*name).to_owned(), Value::Null);
                let schema = of(&inner(), definitions);
                definitions.insert((*name).to_owned(), schema);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
        Shape::Any => json!({}),
    }
}

fn of_scalar(scalar: &ScalarShape) -> Value {
    let kinds = match scalar.json {
        "string" => json!(["string", "number", "boolean"]),
        other => json!([other, "string"]),
    };
    json!({ "type": kinds, "description": scalar.expected })
}

fn of_words(words: &[(&str, &str)]) -> Value {
    let any: Vec<Value> = words.iter().map(|(word, about)| json!({ "const": word, "description": about })).collect();
    json!({ "anyOf": [{ "oneOf": any }, { "type": "string", "pattern": "\\$\\{" }] })
}

fn of_keys(keys: &MapShape, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in keys.fields.iter().chain(&keys.options) {
        properties.insert(field.key.to_owned(), of_field(field, definitions));
    }
    let required: Vec<&str> = keys.fields.iter().filter(|field| field.required).map(|field| field.key).collect();
    let mut object = json!({
        "type": ["object", "null"],
        "description": keys.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !keys.options.is_empty() {
        let one: Vec<Value> = keys.options.iter().map(|option| json!({ "required": [option.key] })).collect();
        object["oneOf"] = json!(one);
    }
    match keys.words.is_empty() {
        true => object,
        false => json!({ "anyOf": [of_words(&keys.words), object] }),
    }
}

fn of_field(field: &Field, definitions: &mut Map<String, Value>) -> Value {
    let inner = of(&(field.shape)(), definitions);
    let mut schema = json!({ "description": field.about, "allOf": [inner] });
    if let Some(default) = field.default {
        schema["default"] = json!(default);
    }
    schema
}
