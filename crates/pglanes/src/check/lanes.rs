//! The lanes as a table: a row of numbers each, and under it what is too long for a column.

use std::fmt::Write;
use std::time::Duration;

use pglanes_config::{
    Activity, Caps, Config, Cpu, Io, Keeps, Lane, ListenAddress, Mode, Pooling, Running, Throttle,
    UpstreamAddress, shown_duration as duration, shown_setting,
};

use crate::serve::baselines;
use crate::source::Source;

const HEADINGS: [&str; 8] = [
    "lane", "slots", "priority", "weight", "queue", "cpu", "pooling", "mode",
];

/// All lanes, in the order in which they match.
pub(super) fn shown(source: &Source, config: &Config) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(config.lanes.iter().map(row));
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = heading(source, config);
    line(&mut text, &rows[0], &widths);
    for (lane, row) in config.lanes.iter().zip(&rows[1..]) {
        line(&mut text, row, &widths);
        for (key, values) in details(config, lane) {
            for (number, value) in values.iter().enumerate() {
                let key = if number == 0 { key } else { "" };
                add(&mut text, format_args!("  {key:<9}  {value}\n"));
            }
        }
    }
    text
}

fn heading(source: &Source, config: &Config) -> String {
    let listen: Vec<String> = config.listen.iter().map(address).collect();
    let upstream = match &config.upstream.address {
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix { directory, port } => {
            let socket = directory.join(pglanes_config::socket_name(*port));
            socket.display().to_string()
        }
    };
    format!(
        "{source} holds: clients at {}, PostgreSQL at {upstream}, {} slots for {}\n\n",
        listen.join(" and "),
        config.upstream.slots,
        plural(config.lanes.len(), "lane"),
    )
}

fn plural(count: usize, word: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {word}{ending}")
}

fn address(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.display().to_string(),
    }
}

fn row(lane: &Lane) -> [String; HEADINGS.len()] {
    [
        lane.name.clone(),
        format!("{}-{}", lane.minimum, lane.maximum),
        lane.priority.to_string(),
        lane.weight.to_string(),
        format!("{} for {}", lane.queue_length, duration(lane.queue_timeout)),
        priority(lane),
        match lane.pooling {
            Pooling::Transaction => "transaction",
            Pooling::Session => "session",
        }
        .to_owned(),
        mode(lane.mode).to_owned(),
    ]
}

/// `cpu`, and `io` where it is another.
fn priority(lane: &Lane) -> String {
    let cpu = match lane.cpu {
        Cpu::Normal => "normal",
        Cpu::Low => "low",
        Cpu::Background => "background",
    };
    match lane.io {
        Io::Normal => cpu.to_owned(),
        Io::Low => format!("{cpu}, io low"),
        Io::Background => format!("{cpu}, io background"),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
        Mode::Off => "off",
    }
}

fn line(text: &mut String, row: &[String], widths: &[usize]) {
    let cells = row.iter().zip(widths);
    let cells: Vec<String> = cells
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    add(text, format_args!("{}\n", cells.join("  ").trim_end()));
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(more);
}

/// What a lane has of each, where it has any.
fn details(config: &Config, lane: &Lane) -> Vec<(&'static str, Vec<String>)> {
    let rules = lane.rules.iter().map(ToString::to_string).collect();
    let settings = lane.settings.iter().map(shown_setting).collect();
    let objective = lane.objective.iter().flat_map(|objective| {
        objective.targets().map(|(name, target)| {
            let times = f64::from(target.times) / 1000.0;
            format!("{name} at most {times}x of its quiet baseline")
        })
    });
    let kept = baselines::age(config).and_then(|kept| {
        let (_, classes) = kept.lanes.iter().find(|(name, _)| *name == lane.name)?;
        let age = baselines::in_one_unit(kept.age);
        Some(format!(
            "its quiet latency is kept: {classes} classes, as of {age} ago"
        ))
    });
    let objective = objective.chain(kept);
    let plans = lane
        .reuse_plans
        .then(|| "unnamed statements that come again stay prepared".to_owned());
    let caps = (lane.caps != Caps::default()).then(|| lane.caps.to_string());
    let notice = lane
        .queue_notice
        .map(|after| format!("who waits longer than {} is told so", duration(after)));
    let order = (lane.queue_order == pglanes_lanes::QueueOrder::Service)
        .then(|| "sessions share the slots by the time they hold them".to_owned());
    let preempted = lane.preemptible.map(|grace| {
        let grace = duration(grace);
        format!("what is borrowed, after {grace}, for who waits below its right")
    });
    let throttles = config
        .throttles
        .iter()
        .filter(|throttle| throttle.lane == lane.name);
    vec![
        ("match", rules),
        ("caps", caps.into_iter().collect()),
        ("notice", notice.into_iter().collect()),
        ("order", order.into_iter().collect()),
        (
            "rules",
            lane.limits.iter().map(ToString::to_string).collect(),
        ),
        ("preempted", preempted.into_iter().collect()),
        ("settings", settings),
        ("objective", objective.collect()),
        ("plans", plans.into_iter().collect()),
        ("yields", throttles.map(yields).collect()),
    ]
}

fn yields(throttle: &Throttle) -> String {
    let activity = match throttle.activity {
        Activity::Busy => "busy",
        Activity::Connected => "connected",
        Activity::Leased => "leased",
    };
    let linger = match throttle.linger {
        Duration::ZERO => String::new(),
        linger => format!(" and {} after", duration(linger)),
    };
    let keeps = match throttle.keeps {
        Keeps::Slots(slots) => format!("keeps {}", plural(slots as usize, "slot")),
        Keeps::Share(share) => format!("keeps its slots for {share}% of the time"),
        Keeps::All => "keeps its slots".to_owned(),
    };
    let running = match throttle.running {
        Running::Finish => "what runs finishes".to_owned(),
        Running::CancelAfter(after) => format!("what runs is cancelled after {}", duration(after)),
    };
    let cpu = match throttle.cpu {
        Cpu::Normal => "",
        Cpu::Low => ", its backends at low CPU priority",
        Cpu::Background => ", its backends at background CPU priority",
    };
    let direct = match throttle.direct {
        true => " (directly too)",
        false => "",
    };
    let mode = match throttle.mode {
        Mode::Enforce => String::new(),
        other => format!(" ({})", mode(other)),
    };
    format!(
        "to {} while it is {activity}{direct}{linger}: {keeps}{cpu}, {running}{mode}",
        throttle.watched
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lanes_are_shown_as_written() {
        let source = Source::BuiltIn {
            appears: "lanes.yaml".into(),
        };
        let text = shown(&source, &Config::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "the built-in lanes.yaml holds: clients at 127.0.0.1:6433, PostgreSQL at localhost:5432, 40 slots for 5 lanes"
        );
        assert_eq!(
            lines[2],
            "lane        slots  priority  weight  queue        cpu         pooling      mode"
        );
        assert_eq!(
            lines[3],
            "evaluation  4-16   100       1       200 for 1m   normal      transaction  enforce"
        );
        assert!(
            lines.contains(&"  match      application_name: ragchecker*"),
            "{text}"
        );
        assert!(
            lines.contains(&"  settings   statement_timeout=60s"),
            "{text}"
        );
        let yields = "  yields     to evaluation while it is busy and 2s after: keeps 0 slots, what runs is cancelled after 5s";
        assert!(lines.contains(&yields), "{text}");
    }

    #[test]
    fn a_setting_of_an_applications_own_is_not_shown() {
        let mut config = Config::default();
        config.lanes[0]
            .settings
            .push(("app.token".to_owned(), "canary".to_owned()));
        let source = Source::File("lanes.yaml".into());
        let text = shown(&source, &config);
        assert!(
            text.contains("app.token=***") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn durations_are_written_as_in_the_file() {
        let check = |microseconds, expected: &str| {
            assert_eq!(duration(Duration::from_micros(microseconds)), expected);
        };
        check(0, "0");
        check(60_000_000, "1m");
        check(90_000_000, "90s");
        check(1_500_000, "1500ms");
        check(7_200_000_000, "2h");
        check(15, "15us");
    }
}
