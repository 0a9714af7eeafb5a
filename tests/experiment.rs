//! What experiment files mean: the example of the design, and a golden text for each kind of mistake.

use brownout::experiment::{self, Overrides};
use brownout::plan::{LabCatalogue, LabDescription, LabError, LabLink, Plan};
use indexmap::IndexMap;
use serde_json::Value;

/// One lab, as in the design's example.
struct ManagedSql;

impl LabCatalogue for ManagedSql {
    fn names(&self) -> Vec<String> {
        vec!["managed-sql/local-storage".to_owned()]
    }

    fn describe(&self, name: &str, params: &IndexMap<String, Value>) -> Result<LabDescription, Vec<LabError>> {
        if name != self.names()[0] {
            return Err(vec![LabError::UnknownLab { name: name.to_owned() }]);
        }
        let known = ["secondaries", "zones", "commit"].map(str::to_owned).to_vec();
        let mut errors = Vec::new();
        for (param, value) in params {
            if !known.contains(param) {
                errors.push(LabError::UnknownParam { param: param.clone(), known: known.clone() });
            } else if param == "commit" && value != "quorum" && value != "local" {
                let known = vec!["quorum".to_owned(), "local".to_owned()];
                let expected = "`quorum` or `local`".to_owned();
                errors.push(LabError::BadValue { param: param.clone(), expected, known });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let node = |role: &str, zone: &str| {
            IndexMap::from([("role".to_owned(), role.to_owned()), ("zone".to_owned(), zone.to_owned())])
        };
        let link = |from: &str, to: &str| {
            (format!("{from}-{to}"), LabLink { from: from.to_owned(), to: to.to_owned(), http: true })
        };
        Ok(LabDescription {
            params: params.clone(),
            nodes: IndexMap::from([
                ("gateway".to_owned(), node("gateway", "1")),
                ("node-a".to_owned(), node("primary", "1")),
                ("node-b".to_owned(), node("standby", "2")),
            ]),
            links: IndexMap::from([link("gateway", "node-a"), link("gateway", "node-b"), link("node-a", "node-b")]),
            entries: vec!["gateway".to_owned()],
            serving: vec!["node-a".to_owned()],
        })
    }
}

fn resolve(name: &str, text: &str, overrides: &Overrides) -> Result<(Plan, String), String> {
    let resolved = experiment::parse(name, text.to_owned(), overrides)
        .and_then(|experiment| Plan::resolve(experiment, &ManagedSql))
        .map_err(|mistakes| mistakes.render(false))?;
    let warnings = if resolved.warnings.is_empty() { String::new() } else { resolved.warnings.render(false) };
    Ok((resolved.plan, warnings))
}

#[test]
fn the_example_of_the_design_is_a_plan() {
    let text = std::fs::read_to_string("tests/design.yaml").unwrap();
    let (plan, warnings) = resolve("design.yaml", &text, &Overrides::default()).unwrap_or_else(|text| panic!("{text}"));
    assert_eq!(warnings, "");
    assert_eq!(plan.runs.iter().map(|run| run.variant_id()).collect::<Vec<_>>(), ["retry=none", "retry=exponential"]);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "a plan reads back from plan.json");
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan.runs[1]).unwrap());
}
