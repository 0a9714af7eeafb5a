//! `report.json` and its schema.

use super::view::Report;

/// The report as JSON on one line, with a line break at its end.
pub fn json(report: &Report) -> Vec<u8> {
    let mut json = serde_json::to_vec(report).expect("a report has only string keys");
    json.push(b'\n');
    json
}

/// The JSON schema of `report.json`, as kept in `docs/report-schema.json`.
pub fn schema() -> String {
    let schema = schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Report>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema has only string keys");
    text.push('\n');
    text
}
