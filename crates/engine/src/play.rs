//! Plays: which hosts go through which roles. Data, and tiny: no tasks, no loops, no conditions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::hook::Hook;

/// A play of a playbook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// What it is for.
    pub name: String,
    /// The pattern of its hosts.
    pub hosts: String,
    /// The roles each host goes through, in order.
    pub roles: Vec<String>,
    /// The roles that a host which has begun the play goes through at its end, whatever happened: also when one of `roles`
    /// failed there, when others ended the run, and when the user interrupted it. Not where the machine cannot be reached
    /// or its lock is lost.
    #[serde(default)]
    pub always: Vec<String>,
    /// Names to select it by, besides the names of its roles.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How many hosts at once; all when not given. When all hosts of a batch fail, the next batch does not begin.
    #[serde(default, deserialize_with = "at_least_one")]
    pub serial: Option<Share>,
    /// The variable that says the same of groups of its hosts: `{pool_a: 2, pool_b: 30%}`. Whoever loads the play makes several of it.
    #[serde(default)]
    pub serial_by_group: Option<String>,
    /// How many of its hosts may fail, or be unreachable, before they are through it; any number when not given. When more
    /// do, nobody begins another role, of this play, a later or an earlier one: what the play is for would not come about.
    #[serde(default)]
    pub max_failures: Option<Share>,
    /// Whether nobody goes on to later plays before every host has passed this one. Hosts that cannot be reached are then
    /// left out as far as `max_failures` allows (none when not given); a host that fails ends the run for all.
    #[serde(default)]
    pub any_errors_fatal: bool,
    /// Whether a host of it that cannot be reached, and has a part in such plays only, is passed over: told, and no failure.
    #[serde(default)]
    pub may_be_off: bool,
    /// Whether it begins only when all hosts are through the plays before. Without it each host goes at its own speed.
    #[serde(default)]
    pub wait_for_all: bool,
    /// What is run on this computer when the first host of it begins, before it changes anything; the others wait for that. Where it
    /// fails nobody begins the play.
    #[serde(skip)]
    pub before: Vec<Hook>,
    /// What is run on this computer when all hosts are through the play and those before it, or have ended; the next one begins after
    /// that.
    #[serde(skip)]
    pub after: Vec<Hook>,
}

impl Play {
    /// All its roles, those that always run last.
    pub fn all_roles(&self) -> impl Iterator<Item = &String> {
        self.roles.iter().chain(&self.always)
    }
}

/// How many of some hosts: a number, or a percentage of them. Written as `3` or `30%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Hosts(usize),
    /// So many of a hundred.
    Percent(u8),
}

impl Share {
    /// Whether it is more than none, of a number that is large enough.
    pub fn is_some_host(self) -> bool {
        !matches!(self, Self::Hosts(0) | Self::Percent(0))
    }

    /// How many of so many hosts that is. What is not a whole host does not count: 30% of 3 are none.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::Hosts(number) => number,
            Self::Percent(percent) => hosts * usize::from(percent) / 100,
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of hosts nor a percentage such as 30%");
        match text.trim().strip_suffix('%') {
            None => text.trim().parse().map(Self::Hosts).map_err(|_| wrong()),
            Some(percent) => {
                let percent: u8 = percent.trim().parse().map_err(|_| wrong())?;
                if percent > 100 { Err(wrong()) } else { Ok(Self::Percent(percent)) }
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hosts or a percentage such as 30%")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Share, E> {
                number.try_into().map(Share::Hosts).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
                number
                    .try_into()
                    .map(Share::Hosts)
                    .map_err(|_| E::custom(format!("{number} is less than none")))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Share>, D::Error> {
    match Option::<Share>::deserialize(deserializer)? {
        Some(share) if !share.is_some_host() => {
            Err(de::Error::custom("serial is how many hosts at once: at least 1"))
        }
        share => Ok(share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_percentage_of_whole_hosts() {
        let of = |text: &str, hosts| text.parse::<Share>().unwrap().of(hosts);
        assert_eq!(["2", "30%", "30%", "100%", "0"].map(|text| of(text, 3)), [2, 0, 0, 3, 0]);
        assert_eq!([3, 4, 10, 0].map(|hosts| of("30%", hosts)), [0, 1, 3, 0]);
        for wrong in ["", "-1", "101%", "half", "%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn plays_write_it_as_a_number_or_as_a_text() {
        let play = |serial: serde_json::Value| {
            serde_json::from_value::<Play>(
                serde_json::json!({ "name": "p", "hosts": "all", "roles": [], "serial": serial, "max_failures": 0 }),
            )
        };
        assert_eq!(play(2.into()).unwrap().serial, Some(Share::Hosts(2)));
        assert_eq!(play("25%".into()).unwrap().serial, Some(Share::Percent(25)));
        assert_eq!(play(1.into()).unwrap().max_failures, Some(Share::Hosts(0)));
        for wrong in [0.into(), "0%".into(), (-1).into(), serde_json::json!([])] {
            assert!(play(wrong).is_err());
        }
    }
}
