//! The only control plane of a cluster gets others: its API server is the only one there is until they have joined. So it gives
//! the cluster its configuration first, the others join, each worker finds the API through its load balancer, and only then it
//! restarts its own.

use muster_engine::prelude::*;

use super::{API_IS_UP, CONTROL_PLANE, reconfigure};
use crate::cluster::Standing;
use crate::vip;

/// What the control plane that was the only one tells the others when the cluster has the configuration with them.
const THEY_MAY_JOIN: &str = "the configuration with which others join";

/// The role of a worker, and what it tells when its kubelet finds the API where the cluster looks for it.
const NODE: &str = "node";
const FINDS_API: &str = "its kubelet's way to the API";

/// Control planes that join the only one in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Growth {
    /// The only one that stands.
    alone: String,
    /// Those that join, in their order.
    joining: Vec<String>,
}

impl Growth {
    /// `None` where nobody joins in this run, where several stand, or where the only one does not answer: then it is what has to be
    /// mended first. That is looked at once a run.
    pub(super) async fn of(host: &Host, known: &Standing) -> Result<Option<Self>> {
        let takes_part = |name: &str| host.cluster().has_role(name, CONTROL_PLANE);
        let Some(growth) = Self::planned(known, takes_part) else { return Ok(None) };
        let look = || async {
            let alone = host.cluster().host(&growth.alone)?;
            Ok(alone.query(reconfigure::ready(1)).await.is_ok_and(|answer| answer.status == 0))
        };
        let answers = host.cluster().once("whether the only API server answers", look).await?;
        Ok(answers.then_some(growth))
    }

    fn planned(known: &Standing, takes_part: impl Fn(&str) -> bool) -> Option<Self> {
        let [alone] = known.standing()[..] else { return None };
        let joining: Vec<String> =
            known.planes.iter().filter(|name| *name != alone && takes_part(name)).cloned().collect();
        (takes_part(alone) && !joining.is_empty()).then(|| Self { alone: alone.to_owned(), joining })
    }

    pub(super) fn is_alone(&self, host: &Host) -> bool {
        self.alone == host.name()
    }

    /// Waits until it is the turn of one that joins.
    pub(super) async fn turn(&self, host: &Host) -> Result<()> {
        let place = self.joining.iter().position(|name| name == host.name());
        match place.and_then(|place| place.checked_sub(1)) {
            Some(before) => host.needs_of_role(&self.joining[before], CONTROL_PLANE, API_IS_UP).await,
            None => self.may_join(host).await,
        }
    }

    /// Waits until machines may join.
    pub(super) async fn may_join(&self, host: &Host) -> Result<()> {
        host.needs_of_role(&self.alone, CONTROL_PLANE, THEY_MAY_JOIN).await
    }

    /// Waits until the others are there and asked, those that do not come to it excepted.
    ///
    /// # Errors
    /// This one does not share the address of the API with them.
    pub(super) async fn others_are_asked(&self, host: &Host, known: &Standing) -> Result<()> {
        host.reached(THEY_MAY_JOIN);
        for plane in &self.joining {
            host.needs_of_role(plane, CONTROL_PLANE, API_IS_UP).await.ok();
        }
        workers_are_through(host, known).await;
        vip::hold_in_growth(host, known, &self.alone, &self.joining).await
    }

    /// One that has joined takes part in holding the address of the API, before the one that was alone restarts.
    pub(super) async fn may_be_asked(&self, host: &Host, known: &Standing) -> Result<()> {
        vip::hold_in_growth(host, known, &self.alone, &self.joining).await
    }
}

/// Waits until the workers of the run have joined, or have failed.
pub(super) async fn workers_are_through(host: &Host, known: &Standing) {
    for worker in host.cluster().group("kube_node") {
        if !known.planes.contains(&worker) {
            host.needs_of_role(&worker, NODE, FINDS_API).await.ok();
        }
    }
}

/// A worker's kubelet finds the API.
pub(super) fn finds_api(host: &Host) {
    host.reached(FINDS_API);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_stands_alone_waits_for_those_that_join() {
        let all = |_: &str| true;
        let growth = |alone: &str, joining: &[&str]| {
            let joining = joining.iter().map(|name| (*name).to_owned()).collect();
            Some(Growth { alone: alone.to_owned(), joining })
        };
        let one = Standing::of_planes(&["a", "b", "c"], &["b"]);
        assert_eq!(Growth::planned(&one, all), growth("b", &["a", "c"]));
        assert_eq!(Growth::planned(&one, |name| name != "c"), growth("b", &["a"]));
        // Nobody joins in this run, or the only one takes no part in it.
        assert_eq!(Growth::planned(&one, |name| name == "b"), None);
        assert_eq!(Growth::planned(&one, |name| name != "b"), None);
        assert_eq!(Growth::planned(&Standing::of_planes(&["a", "b", "c"], &["a", "b"]), all), None);
        assert_eq!(Growth::planned(&Standing::of_planes(&["a", "b"], &[]), all), None);
    }
}
