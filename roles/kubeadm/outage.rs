//! How long the API is away while the only control plane is upgraded. It is asked all along, because none of the steps knows: an
//! API server goes with its manifest, with its etcd, and again when a new kubelet starts it anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::future::join;
use muster_engine::prelude::*;

use crate::kubectl::ADMIN_CONF;

/// Asks whether the API is there. From one question to the next it is about a second.
const ASKS: &str = concat!(
    include_str!("../own_api_server.sh"),
    r#"
set -- --kubeconfig "$1" --request-timeout=5s
[ -z "$server" ] || set -- "$@" --server="$server"
answers=1
! kubectl "$@" get --raw /readyz >/dev/null 2>&1 || answers=0
sleep 0.8
exit "$answers""#
);

/// When two answers are further apart than this, nobody knows what was between them: this computer or the machine was too busy.
const TOO_FAR_APART: Duration = Duration::from_secs(15);

/// What was seen so far.
struct Seen {
    last: Instant,
    away: Duration,
    has_gaps: bool,
}

impl Seen {
    fn begin(now: Instant) -> Self {
        Self { last: now, away: Duration::ZERO, has_gaps: false }
    }

    /// The API has answered now, or has not: so it was since it was last asked.
    fn add(&mut self, answers: bool, now: Instant) {
        let since = now - self.last;
        self.last = now;
        self.has_gaps |= since > TOO_FAR_APART;
        if !answers {
            self.away += since;
        }
    }

    /// What is told of it.
    fn told(&self, host: &str) -> Option<String> {
        (!self.has_gaps).then(|| {
            format!(
                "the API, every second while this run upgraded the control plane of {host}: it was away for {} s",
                self.away.as_secs_f64().round()
            )
        })
    }
}

/// Does the work, and tells for how long the host's API server was away meanwhile.
pub(crate) async fn told<T>(host: &Host, work: impl Future<Output = Result<T>>) -> Result<T> {
    if host.check_mode() {
        return work.await;
    }
    let is_over = AtomicBool::new(false);
    let work = async {
        let done = work.await;
        is_over.store(true, Ordering::Relaxed);
        done
    };
    let watch = async {
        let mut seen = Seen::begin(Instant::now());
        while !is_over.load(Ordering::Relaxed) {
            match host.query(sh(ASKS, [ADMIN_CONF])).await {
                Ok(answer) => seen.add(answer.status == 0, Instant::now()),
                // What a broken connection says of the API is nothing.
                Err(_) => {
                    seen.has_gaps = true;
                    break;
                }
            }
        }
        seen
    };
    let (done, seen) = join(work, watch).await;
    if let (Ok(_), Some(text)) = (&done, seen.told(host.name())) {
        host.tested(text);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use futures::future::FutureExt;
    use muster_engine::event::Event;
    use muster_engine::run::Role;
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;
    use crate::preflight::fixture::inventory_and_vars;
    use crate::testing::run_roles;

    #[tokio::test]
    async fn the_seconds_are_told_in_which_the_api_was_away() {
        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("away");
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, format!("#!/bin/sh\n[ ! -e {} ]\n", away.display())).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        let role = Role::given("upgrades", move |host| {
            let away = away.clone();
            let work = async move {
                sleep(Duration::from_millis(500)).await;
                fs::write(&away, "").unwrap();
                sleep(Duration::from_secs(5)).await;
                fs::remove_file(&away).unwrap();
                sleep(Duration::from_millis(500)).await;
                Ok(())
            };
            async move { told(host, work).await }.boxed()
        });
        let written = inventory_and_vars("a\n[kube_control_plane]\na\n", "ip: 127.0.0.1\n");
        let plays = json!([{ "name": "Upgrade", "hosts": "all", "roles": ["upgrades"] }]);
        let (outcome, events) = run_roles(&[role], written, &["a"], plays, folder.path()).await;
        assert!(outcome["a"].failure.is_none(), "{:?}", outcome["a"].failure);
        let tested: Vec<&str> = events
            .iter()
            .filter_map(
                |event| if let Event::Tested { what, .. } = event { Some(what.as_str()) } else { None },
            )
            .collect();
        let is_right = |text: &str| {
            let seconds =
                text.strip_suffix(" s").and_then(|text| text.rsplit(' ').next()?.parse::<u32>().ok());
            seconds.is_some_and(|seconds| (4..=8).contains(&seconds))
        };
        assert!(tested.len() == 1 && is_right(tested[0]), "{tested:?}");
        // What an earlier run of the same upgrade has seen is not in it.
        assert!(tested[0].contains("while this run upgraded the control plane of a: "), "{tested:?}");
    }

    #[test]
    fn nothing_is_told_where_nobody_could_ask() {
        let begun = Instant::now();
        let mut seen = Seen::begin(begun);
        let mut told = |second: u64, answers: bool| {
            seen.add(answers, begun + Duration::from_secs(second));
            seen.told("a")
        };
        assert!(told(1, true).unwrap().ends_with("it was away for 0 s"));
        assert!(told(4, false).unwrap().ends_with("it was away for 3 s"));
        assert!(told(13, false).unwrap().ends_with("it was away for 12 s"));
        assert_eq!(told(53, true), None);
    }
}
