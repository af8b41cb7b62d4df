//! A timer on the control planes renews what kubeadm has made, for clusters that nobody sets up again before it ends. etcd's
//! certificates are not in it: a machine cannot sign them.

use muster_engine::prelude::*;
use serde::Deserialize;

use super::RENEW;
use crate::kubeadm;
use crate::timers::{self, Timer};

/// Explained in the `defaults.yml` of kubeadm.
#[derive(Deserialize)]
pub(crate) struct Vars {
    auto_renew_certificates: bool,
    auto_renew_certificates_systemd_calendar: Option<String>,
}

/// Its name is kubespray's.
pub(crate) const NAME: &str = "k8s-certs-renew";

/// After the step the timer is on the machine where it is wanted, and nowhere else.
pub(crate) fn on<'h>(host: &Host, step: Step<'h>) -> Result<Step<'h>> {
    let planes = host.cluster().group("kube_control_plane");
    let none = |step: Step<'h>| Ok(step.ensure(timers::none(NAME)));
    // Only control planes have a calendar: kubespray's sample works it out of their places in the group.
    let Some(place) = planes.iter().position(|plane| plane == host.name()) else { return none(step) };
    let vars: Vars = host.vars()?;
    if !vars.auto_renew_certificates {
        return none(step);
    }
    let timer = Timer {
        name: NAME,
        what: "renew the certificates of this control plane",
        calendar: vars.auto_renew_certificates_systemd_calendar.unwrap_or_else(|| first_monday(place)),
        program: RENEW,
        arguments: vec![
            kubeadm::CONFIG.into(),
            "all".into(),
            "kube-apiserver kube-controller-manager kube-scheduler".into(),
            String::new(),
            String::new(),
            String::new(),
        ],
    };
    timer.on(host, step)
}

/// The first Monday of a month, at a time of its own for each place among the control planes.
fn first_monday(place: usize) -> String {
    let minutes = 180 + 10 * place % 1200;
    format!("Mon *-*-1,2,3,4,5,6,7 {:02}:{:02}:00", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_control_plane_has_a_time_of_its_own() {
        let times = [0, 1, 6].map(first_monday);
        assert_eq!(
            times,
            ["03:00:00", "03:10:00", "04:00:00"].map(|at| format!("Mon *-*-1,2,3,4,5,6,7 {at}"))
        );
    }
}
