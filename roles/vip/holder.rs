//! That one control plane holds the address, and not two of them. Each that does not hear the others takes it: then some machines of the
//! cluster find the one, and some the other one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::future::join_all;
use muster_engine::prelude::*;

use super::pod_of;
use crate::cluster::{self, Standing};
use crate::diagnosis;

/// For how many seconds keepalived runs until it has taken an address that nobody else has: the API server is ready twice in a row, and
/// nobody was heard for a bit more than three; and as long again on a busy machine.
const TAKEN_AFTER: u8 = 12;

/// Within how many seconds machines that hear each other agree who has it.
const AGREED_AFTER: u8 = 10;

/// Makes sure that this control plane holds the address alone, if it does. Where two begin with it at once, the later one sees both.
///
/// # Errors
/// keepalived does not run here, or others hold the address, too.
pub(super) async fn is_the_only_one(host: &Host, known: &Standing, address: IpAddr) -> Result<()> {
    let settled = sh(include_str!("settled.sh"), [pod_of(address), TAKEN_AFTER.to_string()]);
    let what = format!("keepalived runs for {TAKEN_AFTER} s with {address}");
    let wait = Wait::new(what, settled, Duration::from_secs(1), Duration::from_secs(120));
    diagnosis::wait_on_machine(host, "containerd kubelet", wait).await?;
    let holders = holders(host, known, address).await;
    match holders.iter().any(|name| name == host.name()) {
        true => is_held_once(address, &holders),
        false => Ok(()),
    }
}

/// Makes sure that no address of the cluster is held by two control planes, and tells who holds it. Nothing is asked where there is none.
///
/// # Errors
/// Two or more hold one.
pub(crate) async fn are_held_once(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let addresses: BTreeSet<IpAddr> =
        known.planes.iter().flat_map(|plane| known.shares(plane)).copied().collect();
    for address in addresses {
        let holders = holders(host, &known, address).await;
        is_held_once(address, &holders)?;
        if let Some(told) = held_by(address, &holders) {
            host.tested(told);
        }
    }
    Ok(())
}

/// The control planes that hold the address. Where several do, they have not agreed within the time in which they should have.
async fn holders(host: &Host, known: &Standing, address: IpAddr) -> Vec<String> {
    let now = holders_for(host, known, address, 0).await;
    if now.len() > 1 { holders_for(host, known, address, AGREED_AFTER).await } else { now }
}

/// Those that hold it for so many seconds.
async fn holders_for(host: &Host, known: &Standing, address: IpAddr, seconds: u8) -> Vec<String> {
    let holds = |plane: String| {
        let look = sh(include_str!("holds.sh"), [address.to_string(), seconds.to_string()]);
        async move {
            // One that is off holds nothing.
            let answer = host.cluster().host(&plane).ok()?.query(look).await.ok()?;
            (answer.status == 0).then_some(plane)
        }
    };
    let asked = known.planes.iter().filter(|plane| known.answered(plane)).cloned();
    join_all(asked.map(holds)).await.into_iter().flatten().collect()
}

/// Whether not more than one holds it.
fn is_held_once(address: IpAddr, holders: &[String]) -> Result<()> {
    if holders.len() < 2 {
        return Ok(());
    }
    let holders = holders.join(" and ");
    Err(Failure::new(
        format!("{holders} hold {address} at the same time, because they do not hear each other"),
        format!(
            "let IP protocol 112 (VRRP) through between {holders}, in each direction: firewalls of the machines, and rules of a cloud; then \
             run again"
        ),
    ))
}

/// Who holds it, in words; `None` while it goes from one to another.
fn held_by(address: IpAddr, holders: &[String]) -> Option<String> {
    let holder = holders.first()?;
    Some(format!("{holder} holds {address}, the address that the control planes share"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_hold_it_are_named() {
        let told = |holders: &[&str]| {
            let holders: Vec<String> = holders.iter().map(|name| (*name).to_owned()).collect();
            is_held_once(IpAddr::from([192, 0, 2, 10]), &holders).map_err(|failure| failure.to_string())
        };
        assert!(told(&[]).is_ok() && told(&["node1"]).is_ok());
        let held = |holders: &[String]| held_by(IpAddr::from([192, 0, 2, 10]), holders);
        assert_eq!(
            held(&["node1".to_owned()]).unwrap(),
            "node1 holds 192.0.2.10, the address that the control planes share"
        );
        assert_eq!(held(&[]), None);
        let failure = told(&["node1", "node2"]).unwrap_err();
        assert!(failure.starts_with("node1 and node2 hold 192.0.2.10 at the same time"), "{failure}");
    }
}
