//! Against processes of our own, which the kernel lets us lower; what it lets us raise depends on who we are.

use std::process::{Child, Command};

use super::*;

const BACKGROUND: Level = Level {
    cpu: Cpu::Background,
    io: Io::Background,
};
const LOW: Level = Level {
    cpu: Cpu::Low,
    io: Io::Low,
};

/// A process to be lowered; ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn process(&self) -> Process {
        let pid = self.pid();
        process(pid, &Stat::read(pid).unwrap()).unwrap()
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Nice value and policy: the 19th and the 41st field of its stat file.
    fn scheduled(&self) -> (i32, i32) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        (fields[16].parse().unwrap(), fields[38].parse().unwrap())
    }

    fn io(&self) -> libc::c_int {
        io_of(self.pid())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Root of a container may be without the rights of root: CAP_SYS_NICE is bit 23 of the set (capabilities(7)).
fn may_raise() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.unwrap().trim(), 16).unwrap();
    effective & 1 << 23 != 0
}

#[test]
fn levels_are_in_force_as_the_kernel_tells_them() {
    let sleeper = Sleeper::start();
    let mut machine = Machine::new(Clock::start());
    let process = sleeper.process();
    let before = sleeper.scheduled();
    let low = (before.0 + 5).min(19);
    // A shell's autogroup may be another user's to write: own sessions are looked at end to end.
    let _ = machine.set(&process, LOW);
    assert_eq!(sleeper.scheduled(), (low, libc::SCHED_BATCH));
    assert_eq!(sleeper.io(), 2 << 13 | 7);
    let _ = machine.set(&process, BACKGROUND);
    assert_eq!(sleeper.scheduled(), (19, BACKGROUND_POLICY));
    assert_eq!(sleeper.io(), 3 << 13);
    let raised = machine.set(&process, Level::NORMAL);
    assert_eq!(sleeper.io(), process.found.io);
    match may_raise() {
        true => {
            assert_eq!(raised, Ok(()));
            assert_eq!(sleeper.scheduled(), before);
        }
        false => {
            eprintln!("SKIPPED: whether who may raise does; the kernel does not let this user")
        }
    }
    // So that our own session does not stay lowered.
    let _ = set_autogroup(sleeper.pid(), process.found.autogroup);
}

#[test]
fn a_process_that_is_not_the_same_any_more_is_left_alone() {
    let sleeper = Sleeper::start();
    let mut machine = Machine::new(Clock::start());
    let mut other = sleeper.process();
    other.began -= 1;
    let before = sleeper.scheduled();
    assert_eq!(machine.set(&other, BACKGROUND), Err(Refusal::Gone));
    assert_eq!(sleeper.scheduled(), before);
}

#[test]
fn who_is_no_backend_is_not_taken_for_one() {
    let sleeper = Sleeper::start();
    let clock = Clock::start();
    let mut machine = Machine::new(clock);
    let mut find = |pid, peer| {
        let since = clock.now();
        machine.find(&Backend { pid, peer, since })
    };
    let own = i32::try_from(std::process::id()).unwrap();
    let refused = Err(Refusal::NotTheBackend);
    // Its parent is even the one that listens.
    assert_eq!(find(sleeper.pid(), Peer::Listener(Some(own))), refused);
    assert_eq!(find(sleeper.pid(), Peer::Loopback(5432)), refused);
    assert_eq!(find(1, Peer::Loopback(5432)), refused);
    let hidden = Err(Refusal::OtherNamespace);
    assert_eq!(find(sleeper.pid(), Peer::Listener(None)), hidden);
    assert_eq!(find(i32::MAX, Peer::Loopback(5432)), hidden);
    let far = Err(Refusal::OtherMachine);
    assert_eq!(find(sleeper.pid(), Peer::Elsewhere), far);
}

#[test]
fn a_name_in_parentheses_does_not_shift_the_fields() {
    let stat = "12 (a) b (c)) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 6 1 0 4711 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 0 3 42";
    let stat = Stat::parse(stat).unwrap();
    assert_eq!(
        (stat.parent, stat.nice, stat.began, stat.policy),
        (7, 6, 4711, 3)
    );
    assert_eq!(stat.name, "a) b (c)");
    assert_eq!(Stat::parse("12 (cut"), None);
}

#[test]
fn levels_begin_where_the_server_was_started() {
    let found = Terms {
        nice: 3,
        autogroup: -2,
        policy: libc::SCHED_OTHER,
        io: 2 << 13 | 4,
    };
    let low = Terms::of(LOW, found);
    assert_eq!((low.nice, low.autogroup, low.io), (8, 3, 2 << 13 | 7));
    let background = Terms::of(BACKGROUND, found);
    assert_eq!((background.nice, background.autogroup), (19, 19));
    assert_eq!(Terms::of(Level::NORMAL, found), found);
    let nicest = Terms { nice: 18, ..found };
    assert_eq!(Terms::of(LOW, nicest).nice, 19);
}

#[test]
fn a_process_without_a_session_of_its_own_is_in_no_autogroup() {
    assert_eq!(nice_of_autogroup("/autogroup-13 nice -5\n"), Some(-5));
    assert_eq!(nice_of_autogroup(""), None);
    // A process that is not there.
    assert_eq!(autogroup_of(i32::MAX), None);
}

#[test]
fn a_process_began_when_it_began() {
    let clock = Clock::start();
    let sleeper = Sleeper::start();
    let machine = Machine::new(clock);
    let began = machine.began(sleeper.process().began).unwrap();
    assert!(start_fits(began, clock.now()), "{began:?}");
}

#[test]
fn a_cgroup_with_cpu_shares_takes_a_process_out_of_its_autogroup() {
    let root = std::env::temp_dir().join(format!("pglanes-cgroup-{}", std::process::id()));
    fs::create_dir_all(root.join("system.slice/postgresql.service")).unwrap();
    let unified = "0::/system.slice/postgresql.service\n";
    assert!(!has_cpu_shares(unified, &root));
    fs::write(root.join("system.slice/cpu.weight"), "100").unwrap();
    assert!(has_cpu_shares(unified, &root));
    assert!(!has_cpu_shares("0::/\n", &root));
    assert!(!has_cpu_shares("1:cpu,cpuacct:/\n0::/\n", &root));
    assert!(has_cpu_shares("1:cpu,cpuacct:/docker/1\n0::/\n", &root));
    assert!(!has_cpu_shares("3:memory:/docker/1\n", &root));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_sessions_value_decides_where_sessions_are_scheduled() {
    let all = Outcome {
        nice: Ok(()),
        policy: Ok(()),
        autogroup: Some(Ok(())),
        io: Ok(()),
    };
    let no = Err(Errno::PERM);
    assert_eq!(all.judge(BACKGROUND, true), Ok(()));
    let without = Outcome {
        autogroup: Some(Err(Errno::ACCESS)),
        ..all
    };
    assert_eq!(without.judge(BACKGROUND, true), Err(Refusal::Autogroup));
    assert_eq!(without.judge(BACKGROUND, false), Ok(()));
    let unraised = Outcome {
        nice: no,
        policy: no,
        ..all
    };
    assert_eq!(unraised.judge(Level::NORMAL, true), Ok(()));
    assert_eq!(
        unraised.judge(Level::NORMAL, false),
        Err(Refusal::CannotRaise)
    );
    let nothing = Outcome {
        autogroup: Some(Err(Errno::ACCESS)),
        ..unraised
    };
    assert_eq!(nothing.judge(BACKGROUND, true), Err(Refusal::NotPermitted));
    let gone = Outcome {
        nice: Err(Errno::SRCH),
        ..all
    };
    assert_eq!(gone.judge(BACKGROUND, true), Err(Refusal::Gone));
}
