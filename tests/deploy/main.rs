//! The files in deploy/: that they hold, as far as this machine can tell. A check whose program is missing says `SKIPPED` and why.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deploy(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program that may not be there; `None` and a word about it where it is not.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Option<Output> {
    match Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
    {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            None
        }
    }
}

fn assert_success(output: &Output, what: &str) {
    let said =
        [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success(), "{what}: {}", said.concat());
}

#[test]
fn the_lanes_of_containers_and_of_kubernetes_hold() {
    let surroundings = pglanes_config::Process::default();
    let manifest = text("kubernetes/pglanes.yaml");
    let (_, block) = manifest.split_once("lanes.yaml: |\n").unwrap();
    let inside: String = block
        .lines()
        .take_while(|line| line.starts_with("    ") || line.is_empty())
        .map(|line| format!("{}\n", line.get(4..).unwrap_or("")))
        .collect();
    // The cluster's authority is mounted there and not here.
    let inside = inside.replace(
        "sslmode=verify-ca&sslrootcert=/etc/cnpg/ca.crt",
        "sslmode=require",
    );
    for (name, lanes) in [
        ("kubernetes", inside),
        ("docker", text("docker/lanes.yaml")),
    ] {
        let config = pglanes_config::parse(name, &lanes, &surroundings);
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.throttles.len(), 2, "{name}");
    }
}

/// Names of metrics of ours in a text, without what Prometheus adds to a histogram's.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, prefix) in text.match_indices("pglanes_") {
        let rest = &text[at + prefix.len()..];
        let name = rest
            .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .next()
            .unwrap();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        // `pglanes_test.yml` is a file.
        if name != "test" {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_table_of_metrics_is_what_the_program_says() {
    let written = text("metrics.md");
    let said = pglanes_admin::metrics::reference();
    assert!(
        written == said,
        "deploy/metrics.md is stale: cargo run -- metrics > deploy/metrics.md"
    );
}

#[test]
fn the_dashboards_warnings_are_the_alerts_of_the_same_name() {
    let rules: serde_json::Value =
        serde_yaml::from_str(&text("prometheus/rules/pglanes.yml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules: Vec<&serde_json::Value> = groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    for sign in pglanes_admin::warnings::SIGNS {
        let rule = rules.iter().find(|rule| rule["alert"] == sign.alert);
        let rule = rule.unwrap_or_else(|| panic!("no alert {}", sign.alert));
        let holds = match rule["for"].as_str() {
            None => 0,
            Some(text) => {
                let (number, unit) = text.split_at(text.len() - 1);
                let seconds = match unit {
                    "s" => 1,
                    "m" => 60,
                    _ => 3600,
                };
                number.parse::<u64>().unwrap() * seconds
            }
        };
        assert_eq!(sign.holds.as_secs(), holds, "{}", sign.alert);
        assert_eq!(
            rule["labels"]["severity"],
            sign.severity.label(),
            "{}",
            sign.alert
        );
        let action = rule["annotations"]["action"].as_str().unwrap().trim();
        assert_eq!(action, sign.action, "{}", sign.alert);
        let expression = rule["expr"].as_str().unwrap();
        // A ratio is written as the one against the other.
        let written = [0.0, 1.0].contains(&sign.threshold)
            || expression.contains(&sign.threshold.to_string());
        assert!(written, "{}: {expression}", sign.alert);
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = pglanes_admin::metrics::METRICS
        .iter()
        .map(|metric| metric.name())
        .collect();
    for file in [
        "prometheus/rules/pglanes.yml",
        "prometheus/rules/pglanes_test.yml",
        "grafana/dashboards/pglanes.json",
    ] {
        let asked = metrics_in(&text(file));
        assert!(asked.len() > 10, "{file}: {asked:?}");
        for name in asked {
            let name = format!("pglanes_{name}");
            assert!(known.contains(&name), "{file}: {name}");
        }
    }
}

/// What follows an opening word up to the closing one, wherever that comes.
fn between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(move |rest| rest.split(close).next())
}

#[test]
fn the_dashboards_panels_group_by_labels_that_their_metrics_have() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("grafana/dashboards/pglanes.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for target in targets {
        let asked = target["expr"].as_str().unwrap();
        let words = |text: &str| -> BTreeSet<String> {
            let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
            text.split(|c| !letter(c)).map(str::to_owned).collect()
        };
        let used = words(asked);
        let has = |name: &str| {
            let parts = ["", "_bucket", "_sum", "_count"];
            parts
                .iter()
                .any(|part| used.contains(&format!("{name}{part}")))
        };
        let metrics = pglanes_admin::metrics::METRICS.iter();
        let metrics: Vec<_> = metrics.filter(|metric| has(&metric.name())).collect();
        assert!(!metrics.is_empty(), "{asked}");
        let known = |label: &str| {
            let own = metrics.iter().any(|metric| metric.labels.contains(&label));
            own || ["le", "job", ""].contains(&label)
        };
        let grouped = between(asked, "by (", ')').flat_map(|labels| labels.split(", "));
        let picked = between(asked, "{", '}').flat_map(|labels| labels.split(','));
        let picked = picked.filter_map(|label| label.split('=').next());
        for label in grouped.chain(picked) {
            assert!(known(label.trim()), "{label:?} in {asked}");
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("grafana/dashboards/pglanes.json")).unwrap();
    let number = |panel: &serde_json::Value, name: &str| panel["gridPos"][name].as_u64().unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for x in 0..number(panel, "w") {
            for y in 0..number(panel, "h") {
                let place = (number(panel, "x") + x, number(panel, "y") + y);
                assert!(
                    place.0 < 24 && taken.insert(place),
                    "{}: {place:?}",
                    panel["title"]
                );
            }
        }
    }
}

#[test]
fn the_alerts_hold_and_their_tests_pass() {
    let folder = deploy("prometheus/rules");
    for arguments in [
        ["check", "rules", "pglanes.yml"],
        ["test", "rules", "pglanes_test.yml"],
    ] {
        if let Some(output) = run("promtool", &arguments, &folder) {
            assert_success(&output, "promtool");
        }
    }
    let tested = text("prometheus/rules/pglanes_test.yml");
    for line in text("prometheus/rules/pglanes.yml").lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            assert!(
                tested.contains(&format!("alertname: {name}")),
                "no test of {name}"
            );
        }
    }
}

#[test]
fn the_prometheus_files_hold() {
    for (folder, file) in [("prometheus", "prometheus.yml")] {
        if let Some(output) = run("promtool", &["check", "config", file], &deploy(folder)) {
            assert_success(&output, file);
        }
    }
}

#[test]
fn the_launch_agent_is_a_property_list() {
    let script = "import plistlib,sys; p=plistlib.load(open(sys.argv[1],'rb')); assert p['ProgramArguments'][1]=='serve'";
    let agent = deploy("launchd/dev.pglanes.pglanes.plist");
    let agent = agent.display().to_string();
    if let Some(output) = run("python3", &["-c", script, &agent], &deploy("launchd")) {
        assert_success(&output, "the launch agent");
    }
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let folder = std::env::temp_dir().join(format!("pglanes-unit-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for name in ["pglanes.service", "pglanes.socket"] {
        // The program is not installed where this is tested.
        let unit = text(&format!("systemd/{name}")).replace("/usr/local/bin/pglanes", "/bin/true");
        fs::write(folder.join(name), unit).unwrap();
    }
    let output = run(
        "systemd-analyze",
        &["verify", "./pglanes.service", "./pglanes.socket"],
        &folder,
    );
    fs::remove_dir_all(&folder).unwrap();
    if let Some(output) = output {
        assert_success(&output, "systemd-analyze");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("pglanes."), "{said}");
    }
}

#[test]
fn the_formula_is_ruby() {
    if let Some(output) = run("ruby", &["-c", "pglanes.rb"], &deploy("homebrew")) {
        assert_success(&output, "ruby");
    }
}
