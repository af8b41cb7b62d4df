//! What is to be done about what was seen: rules without any effect. [`decide`] reads from top to bottom as docs/reconcile.md tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::output::text::{count, duration, names};

/// Under which name the cluster as a whole is remembered, of which no machine is ill.
pub(crate) const CLUSTER: &str = "the cluster";

/// How often a step is tried on a machine before the next stronger one.
const TRIES_OF_A_STEP: usize = 2;

/// How long a machine has to be well until what was tried on it is forgotten: what falls ill again sooner was not healed.
const FORGOTTEN_AFTER: u64 = 600;

/// The longest pause between two tries on one machine.
const LONGEST_PAUSE: u64 = 1800;

/// What may be done, as the user says it. Times are in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// At most so many percent of the machines may be ill: what more machines have in common is not mended one by one.
    pub(crate) unhealthy_limit: usize,
    /// How long something has to be wrong.
    pub(crate) after: u64,
    /// How long a machine that is on may take to answer.
    pub(crate) boot_time: u64,
    /// How often something is tried on a machine.
    pub(crate) tries: usize,
    /// Until the second try; twice as long until the next one, and so on.
    pub(crate) pause: u64,
    /// Whether there is a provider, which can switch machines off and on.
    pub(crate) has_provider: bool,
    /// Whether a machine may get a new system by it.
    pub(crate) may_reimage: bool,
    /// Whether a declaration that was not applied yet is.
    pub(crate) may_apply: bool,
}

/// What is wrong with a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not answer.
    Silent(String),
    /// It shows a host key that is not the known one, and no certificate that would prove that it is the same machine.
    Untrusted(String),
    /// It answers and proves who it is, but nobody can work on it: a login that is refused, for example.
    Closed(String),
    /// It was never set up, or has a new system.
    Bare,
    /// Something on it does not run, or its node is not Ready.
    Unwell(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent(why) | Self::Untrusted(why) | Self::Closed(why) | Self::Unwell(why) => {
                f.write_str(why)
            }
            Self::Bare => f.write_str("it is not set up: it is new, or was installed anew"),
        }
    }
}

/// Whether a machine that does not answer is on, as its provider knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Power {
    #[default]
    Unknown,
    On,
    Off,
}

/// A machine as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) is_plane: bool,
    /// Whether it is a member of etcd.
    pub(crate) is_member: bool,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) power: Power,
    /// Whether it is this computer, which nobody switches off, or gives a new system, by what runs on it.
    pub(crate) is_here: bool,
}

/// The cluster as it was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// In seconds since 1970.
    pub(crate) at: u64,
    pub(crate) machines: Vec<Machine>,
    /// Why nothing is to be done, as a person has written it.
    pub(crate) frozen: Option<String>,
    /// Who else heals this cluster.
    pub(crate) healer: Option<String>,
    /// Which run is at work on which machine.
    pub(crate) at_work: Option<String>,
    /// Why the cluster is not as it is declared, where it is known to be so without a look at it.
    pub(crate) declared: Option<String>,
    /// What `setup-cluster` would change, where that was looked for.
    pub(crate) drift: Vec<String>,
}

/// What can be done to a machine, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The cluster is brought to what its declaration says.
    Apply,
    /// A set-up of this machine alone: whatever does not run is started by the roles that brought it.
    SetUp,
    /// Off and on again.
    Power,
    /// A new system, which replaces what is on the machine.
    Reimage,
    /// It takes its place in the cluster again, with a new system.
    Replace,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::SetUp => "set-up",
            Self::Power => "power",
            Self::Reimage => "reimage",
            Self::Replace => "replace",
        })
    }
}

/// Something that was done to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Try {
    pub(crate) step: Step,
    /// When it had ended, in seconds since 1970.
    pub(crate) at: u64,
    /// What came of it.
    pub(crate) outcome: String,
}

/// What is remembered of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// What is wrong with it; nothing where it is well.
    pub(crate) trouble: Option<String>,
    /// Since when it is ill, or well.
    pub(crate) since: u64,
    /// What was tried since it was well for long.
    #[serde(default)]
    pub(crate) tries: Vec<Try>,
    /// Before which time nothing more is tried.
    #[serde(default)]
    pub(crate) next: u64,
    /// Whether its provider was told to give it a new system, with which it has not taken its place yet. That is what proves a host
    /// key that nobody knows.
    #[serde(default)]
    pub(crate) reimaged: bool,
    /// What was decided last, and why.
    #[serde(default)]
    pub(crate) decided: String,
    /// When something may be done the next time, where that is known.
    #[serde(default)]
    pub(crate) until: Option<u64>,
}

/// What is remembered of all of them.
pub(crate) type Cases = BTreeMap<String, Case>;

/// What is done about a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This, now.
    Do(Step),
    /// Nothing before this time, or, where there is none, before something else has changed.
    Wait(Option<u64>),
    /// Nothing more: a person is needed.
    Person,
    /// Nothing: it is well.
    Well,
}

/// A decision, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) machine: String,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Do(step) => write!(f, "{step}"),
            Self::Wait(_) => f.write_str("wait"),
            Self::Person => f.write_str("needs a person"),
            Self::Well => f.write_str("well"),
        }
    }
}

/// Takes in how the machines are: who is ill, and since when.
pub(crate) fn remember(cases: &mut Cases, seen: &Seen) {
    let is_there = |name: &str| name == CLUSTER || seen.machines.iter().any(|machine| machine.name == name);
    cases.retain(|name, _| is_there(name));
    let drift = || (!seen.drift.is_empty()).then(|| seen.drift.join("; "));
    let differs = seen.declared.clone().or_else(drift);
    let troubles = seen
        .machines
        .iter()
        .map(|machine| (machine.name.as_str(), machine.trouble.as_ref().map(Trouble::to_string)))
        .chain([(CLUSTER, differs)]);
    for (name, trouble) in troubles {
        let case = cases.entry(name.to_owned()).or_insert_with(|| Case { since: seen.at, ..Case::default() });
        if case.trouble.is_some() != trouble.is_some() {
            case.since = seen.at;
        }
        case.trouble = trouble;
        case.reimaged &= case.trouble.is_some();
        if case.trouble.is_none() && seen.at >= case.since + FORGOTTEN_AFTER {
            case.tries.clear();
            case.next = 0;
        }
    }
}

/// Takes in what came of a step, and when the next one may be tried.
pub(crate) fn remember_try(case: &mut Case, step: Step, at: u64, outcome: Result<(), String>, rules: &Rules) {
    match step {
        Step::Reimage => case.reimaged = outcome.is_ok(),
        Step::Replace => case.reimaged &= outcome.is_err(),
        Step::Apply | Step::SetUp | Step::Power => {}
    }
    let doubled = u32::try_from(case.tries.len()).unwrap_or(u32::MAX).min(16);
    // A new system is of no use before it has taken its place: that is no further try of the same thing.
    let pause = if case.reimaged { 0 } else { (rules.pause << doubled).min(LONGEST_PAUSE) };
    case.next = at + pause;
    case.until = Some(case.next);
    let outcome = outcome.err().unwrap_or_else(|| "done".to_owned());
    case.tries.push(Try { step, at, outcome });
}

/// What is done about each machine: at most one of all decisions is to do something.
pub(crate) fn decide(seen: &Seen, cases: &Cases, rules: &Rules) -> Vec<Decision> {
    let ill: Vec<&Machine> = seen.machines.iter().filter(|machine| machine.trouble.is_some()).collect();
    let well = seen.machines.iter().filter(|machine| machine.trouble.is_none());
    let mut decisions: Vec<Decision> =
        well.map(|machine| of(&machine.name, Verdict::Well, "it is well".to_owned())).collect();
    let drifts = !seen.drift.is_empty() && seen.declared.is_none();
    let differs = drifts || seen.declared.is_some();
    let concerned = || ill.iter().map(|machine| machine.name.as_str()).chain(differs.then_some(CLUSTER));
    if let Some((verdict, reason)) = keeps_all_back(seen, ill.len(), rules) {
        decisions.extend(concerned().map(|name| of(name, verdict.clone(), reason.clone())));
        return decisions;
    }
    let mut in_order = ill.clone();
    let case = |name: &str| cases.get(name).cloned().unwrap_or_default();
    let mut taken: Option<&str> = None;
    if let Some(why) = &seen.declared {
        let (verdict, reason) = match rules.may_apply {
            false => (Verdict::Person, format!("{why}; --apply, or muster cluster apply, makes it so")),
            true => held_back(&case(CLUSTER), seen.at, rules)
                .unwrap_or_else(|| (Verdict::Do(Step::Apply), why.clone())),
        };
        // It may be the remedy: a machine that is gone for good is not declared any more.
        taken = matches!(verdict, Verdict::Do(_)).then_some(CLUSTER);
        decisions.push(of(CLUSTER, verdict, reason));
    }
    // What carries the cluster comes first, and then who was cared for least.
    in_order.sort_by_key(|machine| {
        (!(machine.is_plane || machine.is_member), case(&machine.name).tries.len(), machine.name.clone())
    });
    for machine in in_order {
        let (verdict, reason) = match (consider(machine, seen, cases, rules), taken) {
            ((Verdict::Do(_), _), Some(other)) => (Verdict::Wait(None), format!("{other} comes first")),
            (decided, _) => decided,
        };
        if matches!(verdict, Verdict::Do(_)) {
            taken = Some(&machine.name);
        }
        decisions.push(of(&machine.name, verdict, reason));
    }
    if drifts {
        let (verdict, reason) = match ill.is_empty() {
            false => (Verdict::Wait(None), "machines that are ill come first".to_owned()),
            true => {
                let case = case(CLUSTER);
                let differs = format!("setup-cluster would change: {}", seen.drift.join("; "));
                held_back(&case, seen.at, rules).unwrap_or((Verdict::Do(Step::SetUp), differs))
            }
        };
        decisions.push(of(CLUSTER, verdict, reason));
    }
    decisions
}

fn of(machine: &str, verdict: Verdict, reason: String) -> Decision {
    Decision { machine: machine.to_owned(), verdict, reason }
}

/// Why nothing at all is done now.
fn keeps_all_back(seen: &Seen, ill: usize, rules: &Rules) -> Option<(Verdict, String)> {
    if let Some(reason) = &seen.frozen {
        return Some((Verdict::Wait(None), format!("frozen: {reason}")));
    }
    if let Some(who) = &seen.healer {
        return Some((Verdict::Wait(None), format!("{who} heals this cluster")));
    }
    if let Some(run) = &seen.at_work {
        return Some((Verdict::Wait(None), format!("another run is at work: {run}")));
    }
    let all = seen.machines.len();
    if ill * 100 > rules.unhealthy_limit * all {
        let limit = rules.unhealthy_limit;
        let reason = format!(
            "ill are {ill} of {}, more than {limit} %: what so many have in common may be on this side, and is for a person to see",
            count(all, "machine")
        );
        return Some((Verdict::Person, reason));
    }
    None
}

/// Why nothing is done about something yet, or any more: it has to last, and tries have an end and pauses between them.
fn held_back(case: &Case, now: u64, rules: &Rules) -> Option<(Verdict, String)> {
    if now < case.since + rules.after {
        let reason = format!("it has to last for {}", seconds(rules.after));
        return Some((Verdict::Wait(Some(case.since + rules.after)), reason));
    }
    if case.tries.len() >= rules.tries {
        let last = case
            .tries
            .last()
            .map(|last| format!(", {} last: {}", last.step, last.outcome))
            .unwrap_or_default();
        return Some((Verdict::Person, format!("tried {}{last}", count(case.tries.len(), "time"))));
    }
    if now < case.next {
        return Some((Verdict::Wait(Some(case.next)), "the last try needs time".to_owned()));
    }
    None
}

/// What is done about a machine that is ill, were it the only one.
fn consider(machine: &Machine, seen: &Seen, cases: &Cases, rules: &Rules) -> (Verdict, String) {
    let case = cases.get(&machine.name).cloned().unwrap_or_default();
    let Some(trouble) = &machine.trouble else { return (Verdict::Well, "it is well".to_owned()) };
    if let Some(held) = held_back(&case, seen.at, rules) {
        return held;
    }
    // A machine that is on may be about to answer: somebody restarts it, or we did.
    let quiet_since = case.tries.last().map_or(case.since, |last| last.at.max(case.since));
    let answers_by = quiet_since + rules.boot_time;
    if matches!(trouble, Trouble::Silent(_)) && machine.power != Power::Off && seen.at < answers_by {
        let reason = format!("it may be starting: {}", seconds(rules.boot_time));
        return (Verdict::Wait(Some(answers_by)), reason);
    }
    let ladder = match ladder(machine, trouble, &case, rules) {
        Ok(ladder) => ladder,
        Err(remedy) => return (Verdict::Person, format!("{trouble}; {remedy}")),
    };
    let tried = |step: Step| case.tries.iter().filter(|tried| tried.step == step).count();
    let next = ladder.iter().find(|step| tried(**step) < TRIES_OF_A_STEP).or(ladder.first());
    let Some(step) = next.copied() else { return (Verdict::Person, trouble.to_string()) };
    match endangered(machine, step, seen, cases) {
        Some((verdict, why)) => (verdict, format!("{trouble}; {why}")),
        None => (Verdict::Do(step), trouble.to_string()),
    }
}

/// The steps that help with something, the mildest first; or what a person is to do, where there is none.
fn ladder(machine: &Machine, trouble: &Trouble, case: &Case, rules: &Rules) -> Result<Vec<Step>, String> {
    let has_provider = rules.has_provider && !machine.is_here;
    let power = has_provider.then_some(Step::Power);
    let reimage = (has_provider && rules.may_reimage).then_some(Step::Reimage);
    let name = &machine.name;
    let (steps, remedy): (Vec<Step>, String) = match trouble {
        Trouble::Silent(_) => (
            power.into_iter().chain(reimage).collect(),
            format!("see that {name} is on; one that does not come back: muster remove-node {name}"),
        ),
        // Only who had the new system put there may believe its key.
        Trouble::Untrusted(_) if case.reimaged => (vec![Step::Replace], String::new()),
        Trouble::Untrusted(_) => (
            reimage.into_iter().collect(),
            format!("if {name} was installed anew: muster replace-node {name}"),
        ),
        Trouble::Closed(_) => (Vec::new(), format!("see that muster may log in: muster ping {name}")),
        Trouble::Bare => (vec![Step::Replace], String::new()),
        Trouble::Unwell(_) => {
            ([Step::SetUp].into_iter().chain(power).chain(reimage).collect(), String::new())
        }
    };
    if steps.is_empty() { Err(remedy) } else { Ok(steps) }
}

/// Why a step may not be done to a machine that the cluster rests on. To start what does not run takes nothing away.
fn endangered(machine: &Machine, step: Step, seen: &Seen, cases: &Cases) -> Option<(Verdict, String)> {
    let carries = |machine: &Machine| machine.is_plane || machine.is_member;
    if !carries(machine) || step == Step::SetUp || step == Step::Power && machine.power == Power::Off {
        return None;
    }
    let others = move || seen.machines.iter().filter(move |other| other.name != machine.name);
    let well =
        |of: fn(&Machine) -> bool| others().filter(|other| of(other) && other.trouble.is_none()).count();
    let members = seen.machines.iter().filter(|other| other.is_member).count();
    if machine.is_member && well(|other| other.is_member) < members / 2 + 1 {
        let why = format!("without it etcd would have no majority of its {}", count(members, "member"));
        return Some((Verdict::Person, why));
    }
    if machine.is_plane && well(|other| other.is_plane) == 0 {
        return Some((Verdict::Person, "no other control plane is well".to_owned()));
    }
    let under_care: Vec<&str> = others()
        .filter(|other| carries(other) && other.trouble.is_some())
        .filter(|other| cases.get(&other.name).is_some_and(|case| seen.at < case.next))
        .map(|other| other.name.as_str())
        .collect();
    (!under_care.is_empty())
        .then(|| (Verdict::Wait(None), format!("{} comes back first", names(&under_care))))
}

fn seconds(seconds: u64) -> String {
    duration(std::time::Duration::from_secs(seconds))
}
