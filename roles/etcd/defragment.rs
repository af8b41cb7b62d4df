//! Members of etcd give back to their disks what their databases do not need any more: one after the other, the leader last,
//! because a member answers nobody meanwhile. Reference: etcd's "Maintenance" guide.

use futures::future::{FutureExt, join_all};
use muster_engine::prelude::*;
use muster_engine::run::Role;

use super::Vars;
use super::status::{self, MemberStatus};
use crate::cluster;

/// What a member tells those after it.
const DONE: &str = "its database without gaps";

/// The role that does it on each member, where it is worth it.
pub fn role() -> Role {
    Role::given("etcd-defragment", |host| run(host).boxed()).reading(&[cluster::READS])
}

async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    cluster::belongs(host).await?;
    let order = host.cluster().once("the order of defragmentation", || order(host)).await?;
    let place = order.iter().position(|(name, _)| name == host.name());
    let Some((place, (_, status))) = place.and_then(|place| Some((place, order.get(place)?))) else {
        return Ok(());
    };
    if let Some((before, _)) = place.checked_sub(1).and_then(|before| order.get(before)) {
        host.needs(before, DONE).await?;
    }
    if is_worth_it(status) {
        let defragment = ctl!(
            r#"
patience=600s
ctl defrag
patience=5s
# An alarm stays until somebody takes it away.
case $(ctl alarm list) in *CORRUPT*) ;; *NOSPACE*) ctl alarm disarm ;; esac
ctl get health"#,
            [&vars.etcd_cert_dir]
        );
        let what = format!("database of {}, of which {} are in use", mib(status.size), mib(status.in_use));
        host.step("Give back what the database does not need")
            .ensure(command(what, defragment, sh0("false")))
            .await?;
    } else {
        host.passed("Look at the database");
    }
    host.reached(DONE);
    Ok(())
}

/// The members of the run with what they say, the leader last.
///
/// # Errors
/// One is not well: a member that is away while another one answers nobody might cost the majority.
async fn order(host: &Host) -> Result<Vec<(String, MemberStatus)>> {
    let members = host.cluster().group("etcd");
    let asked = members.into_iter().map(|name| async move {
        let status = status::of(&*host.cluster().host(&name)?).await?.filter(|status| status.healthy);
        let status = status.ok_or_else(|| {
            Failure::new(
                format!(
                    "the member of etcd on {name} is not well, and the others cannot do without one more"
                ),
                "see what is wrong with each: muster etcd status",
            )
        })?;
        Ok((name, status))
    });
    let mut all: Vec<(String, MemberStatus)> = join_all(asked).await.into_iter().collect::<Result<_>>()?;
    all.sort_by_key(|(_, status)| status.leader == status.id);
    Ok(all)
}

/// Whether a tenth of the database would be given back, or it is full.
fn is_worth_it(status: &MemberStatus) -> bool {
    (status.size.saturating_sub(status.in_use)) * 10 >= status.size
        || status.alarms.contains(&(status.id, "NOSPACE"))
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_left_alone_while_it_has_few_gaps() {
        let status = |size, in_use, alarms: &[(u64, &'static str)]| MemberStatus {
            id: 7,
            size,
            in_use,
            alarms: alarms.to_vec(),
            ..MemberStatus::default()
        };
        assert!(!is_worth_it(&status(100, 95, &[])));
        assert!(is_worth_it(&status(100, 90, &[])));
        assert!(is_worth_it(&status(100, 99, &[(7, "NOSPACE")])), "it is full");
        assert!(!is_worth_it(&status(100, 99, &[(8, "NOSPACE")])), "another one is");
    }
}
