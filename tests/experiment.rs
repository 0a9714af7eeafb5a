//! What experiment files mean: the example of the design, and a golden text for each kind of mistake.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fall over like tests")]

mod golden;

use brownout::experiment::{self, Overrides};
use brownout::plan::{Failover, LabCatalogue, LabDescription, LabError, LabLink, Order, Plan};
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
        let in_rack = |rack: &str, mut node: IndexMap<String, String>| {
            node.insert("rack".to_owned(), rack.to_owned());
            node
        };
        let link = |from: &str, to: &str| {
            (format!("{from}-{to}"), LabLink { from: from.to_owned(), to: to.to_owned(), http: true })
        };
        Ok(LabDescription {
            params: params.clone(),
            nodes: IndexMap::from([
                ("gateway".to_owned(), node("gateway", "1")),
                ("node-a".to_owned(), in_rack("r1", node("primary", "1"))),
                ("node-b".to_owned(), in_rack("r2", node("standby", "2"))),
                ("control-1".to_owned(), node("control", "1")),
            ]),
            links: IndexMap::from([link("gateway", "node-a"), link("gateway", "node-b"), link("node-a", "node-b")]),
            entries: vec!["gateway".to_owned()],
            serving: vec!["node-a".to_owned()],
            orders: vec![Order::Failover(Failover::Simulated)],
            names: Default::default(),
            modelled: Vec::new(),
        })
    }

    fn outline(&self, name: &str, params: &IndexMap<String, Value>) -> Option<LabDescription> {
        // As if the secondaries decided which nodes there are.
        if params.contains_key("secondarys") { None } else { self.describe(name, &IndexMap::new()).ok() }
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
    golden::check("tests/golden/design.plan.json", serde_json::to_string_pretty(&plan.runs[1]).unwrap() + "\n");
}

/// Every file of `tests/mistakes` beside the text that a person reads.
#[test]
fn each_kind_of_mistake_is_told_with_its_place() {
    let mut files: Vec<_> = std::fs::read_dir("tests/mistakes").unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 20, "the files are there");
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let told = match resolve(&format!("{name}.yaml"), &text, &Overrides::default()) {
            Ok((_, warnings)) => warnings,
            Err(told) => told,
        };
        assert_ne!(told, "", "{name} has a mistake");
        golden::check(&format!("tests/mistakes/{name}.txt"), told);
    }
}

fn load(text: &str, set: &[&str]) -> Result<(Plan, String), String> {
    let overrides = Overrides { set: set.iter().map(|set| (*set).to_owned()).collect(), ..Overrides::default() };
    resolve("test.yaml", text, &overrides)
}

const PLAIN: &str = "
name: plain
params: { rate: 500/s, wait: null }
system: { lab: { managed-sql/local-storage: {} } }
workloads:
  orders:
    to: gateway
    client: { http: {} }
    arrival: { constant: '${rate}' }
    operation: { request: { path: '/${wait}/$${x}' } }
    deadline: ${wait}
faults:
  cut: { for: 3s, kill: { nodes: node-a } }
smoke:
  faults: { cut: { for: 500ms } }
  workloads: { orders: { attempt_timeout: 100ms } }
";

#[test]
fn a_mistake_in_a_set_value_points_at_the_command_line() {
    let told = load(PLAIN, &["rate=fast", "wait=2s", "rats=1/s", "wait"]).unwrap_err();
    golden::check("tests/golden/set_values.txt", told);
}

#[test]
fn parameters_are_filled_in_whole_and_in_part() {
    let (plan, _) = load(PLAIN, &["wait=2s"]).unwrap_or_else(|told| panic!("{told}"));
    let orders = &plan.runs[0].workloads["orders"];
    assert_eq!(orders.deadline.to_string(), "2s");
    assert_eq!(plan.params["wait"], "2s");
    let brownout::plan::workload::Operation::Request(request) = &orders.operation else { panic!("a request") };
    assert_eq!(request.path, "/2s/${x}");
    assert_eq!(plan.again, "brownout run test.yaml --set wait=2s --seed 1");
}

#[test]
fn smoke_is_laid_over_the_file_map_by_map() {
    let overrides = Overrides { smoke: true, set: vec!["wait=2s".to_owned()], ..Overrides::default() };
    let (plan, _) = resolve("test.yaml", PLAIN, &overrides).unwrap_or_else(|told| panic!("{told}"));
    let run = &plan.runs[0];
    assert_eq!(run.faults["cut"].hold.map(|hold| hold.to_string()), Some("500ms".to_owned()));
    assert_eq!(run.workloads["orders"].attempt_timeout.to_string(), "100ms");
    assert_eq!(run.workloads["orders"].to, "gateway");
    assert!(plan.smoke);
}

#[test]
fn a_null_in_the_overlay_takes_a_key_away() {
    let text = std::fs::read_to_string("tests/design.yaml").unwrap() + "smoke: { matrix: null, expect: null }\n";
    let overrides = Overrides { smoke: true, ..Overrides::default() };
    let (plan, _) = resolve("design.yaml", &text, &overrides).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(plan.runs.len(), 1);
    assert_eq!(plan.runs[0].folder, "", "a plan of one run needs no folders");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let told = experiment::load("tests/nowhere.yaml", &Overrides::default()).unwrap_err().render(false);
    assert!(told.starts_with("error: could not read tests/nowhere.yaml: No such file"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes.yaml");
    std::fs::write(&path, b"name: \xff\n").unwrap();
    let told = experiment::load(&path, &Overrides::default()).unwrap_err().render(false);
    assert!(told.contains("is not UTF-8"), "{told}");
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    let told = experiment::load(&path, &Overrides::default()).unwrap_err().render(false);
    assert!(told.contains("larger than 1 MiB"), "{told}");
}

#[test]
fn repetitions_have_seeds_and_folders_of_their_own() {
    let text = std::fs::read_to_string("tests/design.yaml").unwrap();
    let overrides = Overrides { repeat: Some(2), seed: Some(40), ..Overrides::default() };
    let (plan, _) = resolve("design.yaml", &text, &overrides).unwrap_or_else(|told| panic!("{told}"));
    let runs: Vec<_> = plan.runs.iter().map(|run| (run.folder.as_str(), run.seed.0, run.repetition)).collect();
    assert_eq!(
        runs,
        [
            ("retry=none/repetition-1", 40, 1),
            ("retry=none/repetition-2", 41, 2),
            ("retry=exponential/repetition-1", 40, 1),
            ("retry=exponential/repetition-2", 41, 2)
        ]
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
name: anchors
system: { lab: { managed-sql/local-storage: {} } }
workloads:
  orders: &orders
    to: gateway
    client: { http: {} }
    arrival: { constant: 500/s }
    operation: { echo: {} }
  more: { <<: *orders, arrival: { poisson: 10/s } }
";
    let (plan, _) = load(text, &[]).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(plan.runs[0].workloads["more"].to, "gateway");
    assert_eq!(plan.runs[0].workloads["more"].arrival.peak().map(|rate| rate.to_string()), Some("10/s".to_owned()));
}

#[test]
fn a_bomb_of_aliases_is_refused_before_it_goes_off() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 9].join(", "));
    }
    assert!(load(&text, &[]).unwrap_err().contains("more than 100000 values"));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), ["*a"; 100_000].join(", "));
    assert!(load(&long, &[]).unwrap_err().contains("more than 100000 values"));
}

#[test]
fn deep_nesting_and_large_matrices_are_refused() {
    let deep = format!("name: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(load(&deep, &[]).is_err());
    let values: Vec<String> = (0..30).map(|n| format!("v{n}: {n}s")).collect();
    let axis = |name: &str| format!("  {name}: {{ path: phases.{name}, values: {{ {} }} }}\n", values.join(", "));
    let matrix = format!("matrix:\n{}{}{}", axis("warmup"), axis("baseline"), axis("recovery"));
    let text = PLAIN.replace("smoke:", &format!("{matrix}smoke:"));
    assert!(load(&text, &["wait=2s"]).unwrap_err().contains("more than 500 variants"));
}

mod labs {
    use super::*;
    use brownout::system::lab::Labs;

    fn first() -> Plan {
        let experiment = experiment::parse("first.yaml", experiment::FIRST.to_owned(), &Overrides::default());
        let resolved = experiment.and_then(|experiment| Plan::resolve(experiment, &Labs));
        let resolved = resolved.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(resolved.warnings.is_empty(), "{}", resolved.warnings);
        resolved.plan
    }

    #[test]
    fn the_first_experiment_is_sound_and_its_plan_reads_well() {
        golden::check("tests/golden/first.plan.txt", brownout::plan::timeline::render(&first(), &Labs));
    }

    /// Every experiment of the repository is sound; those that need a parameter get one.
    #[test]
    fn every_experiment_is_sound() {
        let mut folders = vec![std::path::PathBuf::from("experiments")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let set =
                        if text.contains("url: null") { vec!["url=http://127.0.0.1:8080".to_owned()] } else { vec![] };
                    let overrides = Overrides { set, ..Overrides::default() };
                    let resolved = experiment::load(&path, &overrides).and_then(|file| Plan::resolve(file, &Labs));
                    if let Err(mistakes) = resolved {
                        panic!("{mistakes}");
                    }
                    super::schema::fits(&path.display().to_string(), &text);
                }
            }
        }
    }
}

#[test]
fn a_plan_shows_processes_endpoints_actions_and_permissions() {
    let text = "
name: own-servers
hypothesis: A slow path to the database does not slow the shop down.
allow: [{ host: db.example.com, max_rate: 1k/s }, data-damage]
system:
  nodes:
    db: { endpoint: 'db.example.com:5432', labels: { role: primary } }
    shop:
      labels: { zone: '1' }
      process:
        command: [./shop, '--config', '${dir}/shop.conf']
        listen: 127.0.0.1:0
        files: { shop.conf: 'db = ${links.shop-db.address}' }
        ready: { http: /health, within: 20s }
  links:
    shop-db: { from: shop, to: db, listen: '127.0.0.1:6000' }
workloads:
  visitors:
    to: shop
    client: { http: {} }
    arrival: { users: { count: 20, think: 100ms } }
    operation: { request: { path: / } }
    retry: { fixed: { wait: 50ms, attempts: 3, budget: { ratio: 20% } } }
phases: { warmup: 2s, baseline: 10s, recovery: 10s }
faults:
  slow: { for: 20s, latency: { links: shop-db, add: 80ms, jitter: 20ms, direction: down } }
  busy: { after: slow.injected + 5s, for: 5s, http_status: { links: visitors-shop, code: 503, share: 20% } }
  crash: { after: slow.healed + 2s, for: 2s, kill: { nodes: shop } }
  api: { at: 25s, exec: { command: [./failover.sh], undo: { exec: [./failback.sh] } } }
guards: [ { abort_if: visitors.success_rate < 10%, for: 5s } ]
checks: [ { exec: ['./totals.sh', '${links.shop-db.port}'], when: [final] } ]
repeat: 2
expect: [ visitors.success_rate >= 99% ]
";
    let (plan, warnings) = load(text, &[]).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(warnings, "");
    golden::check("tests/golden/own_servers.plan.txt", brownout::plan::timeline::render(&plan, &ManagedSql));
}

#[test]
fn the_reference_page_is_made_from_the_code() {
    let made = format!("\n{}\n", brownout::plan::reference().trim_end());
    golden::check_part("docs/experiment.md", "<!-- reference -->", None, &made);
}

#[test]
fn the_table_of_metrics_is_made_from_the_code() {
    let table = brownout::experiment::metric::markdown_table();
    golden::check_part("docs/expectations.md", "<!-- metrics: ", Some("<!-- end of metrics"), &table);
}

mod schema {
    use serde_json::Value;

    /// Checks a file against `brownout schema`, by the keywords that our schema uses.
    pub(super) fn fits(name: &str, text: &str) {
        let schema = brownout::plan::json_schema();
        let file = brownout::experiment::to_json(text).expect("YAML");
        let mut wrong = Vec::new();
        check(&schema, &schema, &file, name, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
            let any_of = |wrong: &mut Vec<String>, exactly: bool| {
                let fit = wanted.as_array().unwrap().iter().filter(|schema| {
                    let mut inner = Vec::new();
                    check(root, schema, value, at, &mut inner);
                    inner.is_empty()
                });
                let fit = fit.count();
                if fit == 0 || (exactly && fit > 1) {
                    wrong.push(format!("{at}: {value} fits {fit} of {wanted}"));
                }
            };
            match keyword.as_str() {
                "$ref" => {
                    let name = wanted.as_str().unwrap().trim_start_matches("#/$defs/");
                    check(root, &root["$defs"][name], value, at, wrong);
                }
                "allOf" => wanted.as_array().unwrap().iter().for_each(|schema| check(root, schema, value, at, wrong)),
                "anyOf" => any_of(wrong, false),
                "oneOf" if value.is_object() || value.is_string() => any_of(wrong, true),
                "const" if value != wanted => wrong.push(format!("{at}: {value} is not {wanted}")),
                "pattern" if !value.as_str().is_some_and(|text| text.contains("${")) => {
                    wrong.push(format!("{at}: {value} is no parameter"));
                }
                "type" => {
                    let kind = match value {
                        Value::Null => "null",
                        Value::Bool(_) => "boolean",
                        Value::Number(number) if number.is_i64() => "integer",
                        Value::Number(_) => "number",
                        Value::String(_) => "string",
                        Value::Array(_) => "array",
                        Value::Object(_) => "object",
                    };
                    let is = |wanted: &Value| *wanted == kind || (*wanted == "number" && kind == "integer");
                    let fits = wanted.as_array().map_or_else(|| is(wanted), |kinds| kinds.iter().any(is));
                    if !fits {
                        wrong.push(format!("{at}: {value} is not of type {wanted}"));
                    }
                }
                "required" => {
                    for key in wanted.as_array().unwrap() {
                        if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
                            wrong.push(format!("{at}: lacks {key}"));
                        }
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        check(root, wanted, item, &format!("{at}[{index}]"), wrong);
                    }
                }
                "properties" | "additionalProperties" => {
                    for (key, item) in value.as_object().into_iter().flatten() {
                        let known = schema["properties"].get(key);
                        let inner =
                            if keyword == "properties" { known } else { Some(wanted).filter(|_| known.is_none()) };
                        match inner {
                            Some(Value::Bool(false)) => wrong.push(format!("{at}: {key} is not a key")),
                            Some(inner) => check(root, inner, item, &format!("{at}.{key}"), wrong),
                            None => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_schema_fits_the_example_of_the_design_and_the_first_experiment() {
        fits("design.yaml", &std::fs::read_to_string("tests/design.yaml").unwrap());
        fits("first.yaml", brownout::experiment::FIRST);
    }

    #[test]
    #[should_panic(expected = "partitoin is not a key")]
    fn the_schema_refuses_an_unknown_key() {
        fits("keys.yaml", &std::fs::read_to_string("tests/mistakes/keys.yaml").unwrap());
    }
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    /// Neither loading nor telling the mistakes may panic or hang, whatever the file holds.
    fn survives(text: &str) {
        let _ = load(text, &["rate=1/s", "x"]).map(|(plan, _)| brownout::plan::timeline::render(&plan, &ManagedSql));
    }

    /// A sound file with a piece cut out, doubled or replaced: most of it is still read.
    fn damaged() -> impl Strategy<Value = String> {
        let files: Vec<String> = std::fs::read_dir("tests/mistakes")
            .unwrap()
            .map(|file| file.unwrap().path())
            .chain(["tests/design.yaml".into()])
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let junk = prop::sample::select(vec![
            "",
            ": ",
            "{",
            "}",
            "[",
            "]",
            "- ",
            "\n",
            "  ",
            "\t",
            "'",
            "\"",
            "&a ",
            "*a",
            "<<: ",
            "${",
            "}",
            "é",
            "\u{feff}",
            "null",
            "-1",
            "1e999s",
            "9999999999999999999s",
            "all",
            "${rate}",
            "#",
            "|\n",
            ">\n",
            "? ",
            "---\n",
            "!x ",
            "%",
        ]);
        (prop::sample::select(files), any::<prop::sample::Index>(), 0usize..40, junk).prop_map(
            |(text, at, length, junk)| {
                let chars: Vec<char> = text.chars().collect();
                let at = at.index(chars.len());
                let end = (at + length).min(chars.len());
                chars[..at].iter().collect::<String>() + junk + &chars[end..].iter().collect::<String>()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_file_is_told_not_fallen_over(text in damaged()) {
            survives(&text);
        }

        #[test]
        fn any_text_is_told_not_fallen_over(text in "(?s).{0,400}") {
            survives(&text);
        }
    }
}
