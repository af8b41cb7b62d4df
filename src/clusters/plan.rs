//! What a declaration asks for, compared with the machines that are there. Pure: nothing is looked at and nothing is done.

use muster_openstack::{Declaration, Listed, Role};

/// A machine that is there, or was.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) listed: Listed,
    /// The roles that it has in the inventory, where it is there: then it is part of the cluster, or was to become so.
    pub(crate) member: Option<Vec<Role>>,
}

impl Machine {
    /// Whether there is a machine, and not only what is left of one.
    pub(crate) fn is_there(&self) -> bool {
        !self.listed.state.is_empty()
    }

    fn is_member_plane(&self) -> bool {
        self.member.as_ref().is_some_and(|roles| roles.contains(&Role::ControlPlane))
    }
}

/// One machine that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) why: String,
}

/// What is to be done, by names within the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Machines that stay.
    pub(crate) keep: Vec<String>,
    /// Machines that are made.
    pub(crate) make: Vec<String>,
    /// Machines of the cluster that are gone, and are made again.
    pub(crate) again: Vec<String>,
    /// One after the other, control planes first.
    pub(crate) replace: Vec<Replacement>,
    /// One after the other: those that are gone already, then workers, the highest number first, and control planes last.
    pub(crate) remove: Vec<String>,
}

impl Plan {
    /// Whether machines are neither made nor removed.
    pub(crate) fn is_empty(&self) -> bool {
        self.make.is_empty() && self.again.is_empty() && self.replace.is_empty() && self.remove.is_empty()
    }
}

/// Compares them.
///
/// # Errors
/// What is asked for cannot be done without harm; with what can.
pub(crate) fn plan(declaration: &Declaration, machines: &[Machine]) -> Result<Plan, String> {
    refuse_lost_planes(machines)?;
    let find = |part: &str| machines.iter().find(|machine| machine.listed.part == part);
    let there: Vec<&str> = machines.iter().map(|machine| machine.listed.part.as_str()).collect();
    let differs = |part: &str| find(part).and_then(|machine| machine.listed.differs.clone());
    let mut plan = Plan::default();
    for pool in &declaration.pools {
        let (kept, missing) = pool.share(&there, |part| differs(part).is_none());
        let mut free =
            pool.names().filter(|name| there.iter().all(|part| part != name) && !missing.contains(name));
        for part in &kept {
            let Some(machine) = find(part) else { continue };
            let is_plane_there = machine.member.is_some().then(|| machine.is_member_plane());
            if is_plane_there.is_some_and(|is_plane| is_plane != pool.is_control_plane()) {
                return Err(format!(
                    "{} is in the cluster already, and a machine does not become a control plane, or cease to be one, where it is: leave \
                     the roles of the pool {:?} as they were, and name another pool",
                    machine.listed.name, pool.name
                ));
            }
            if !machine.is_there() {
                let list = if machine.member.is_some() { &mut plan.again } else { &mut plan.make };
                list.push((*part).to_owned());
            } else if let Some(why) = machine.listed.differs.clone() {
                let new = free.next().ok_or_else(|| {
                    format!(
                        "{} is to be replaced ({why}), and the pool {:?} has no machine that could take its place: a new one joins before \
                         the old one leaves. Add an address to the pool",
                        machine.listed.name, pool.name
                    )
                })?;
                plan.replace.push(Replacement { old: (*part).to_owned(), new, why });
            } else {
                plan.keep.push((*part).to_owned());
            }
        }
        plan.make.extend(missing.iter().cloned());
    }
    let is_plane = |part: &str| find(part).is_some_and(Machine::is_member_plane);
    plan.replace.sort_by_key(|replacement| !is_plane(&replacement.old));
    let is_named = |part: &str| {
        let replaced = plan.replace.iter().any(|replacement| replacement.old == part);
        replaced
            || [&plan.keep, &plan.make, &plan.again].iter().any(|list| list.iter().any(|known| known == part))
    };
    let mut remove: Vec<&Machine> =
        machines.iter().filter(|machine| !is_named(&machine.listed.part)).collect();
    remove.sort_by_key(|machine| {
        let part = machine.listed.part.as_str();
        let number = declaration.pool_of(part).and_then(|pool| pool.place(part));
        (machine.is_there(), is_plane(part), std::cmp::Reverse(number))
    });
    plan.remove = remove.into_iter().map(|machine| machine.listed.part.clone()).collect();
    refuse_moved(declaration, &plan, machines)?;
    Ok(plan)
}

/// Without any control plane there is no cluster that the others could be part of, and nobody knows its data.
fn refuse_lost_planes(machines: &[Machine]) -> Result<(), String> {
    let (planes, others): (Vec<&Machine>, Vec<&Machine>) = machines
        .iter()
        .filter(|machine| machine.member.is_some())
        .partition(|machine| machine.is_member_plane());
    let lost = !planes.is_empty() && planes.iter().all(|machine| !machine.is_there());
    if lost && others.iter().any(|machine| machine.is_there()) {
        return Err("all control planes of the cluster are gone, with its data, and machines that were part of it are there: bring one back \
                    from a snapshot of etcd (docs/recover.md), or delete the cluster and apply it anew"
            .into());
    }
    Ok(())
}

/// A machine that exists is in the cluster by one name at a time.
fn refuse_moved(declaration: &Declaration, plan: &Plan, machines: &[Machine]) -> Result<(), String> {
    let new = plan.make.iter().chain(plan.replace.iter().map(|replacement| &replacement.new));
    for part in new {
        let Some(pool) = declaration.pool_of(part) else { continue };
        let Some(address) = pool.address(part).map(|address| address.to_string()) else { continue };
        let is_there = |machine: &&Machine| {
            machine.member.is_some() && machine.listed.address.as_ref() == Some(&address)
        };
        if let Some(holder) = machines.iter().find(is_there) {
            return Err(format!(
                "the machine of {} is to be in the pool {:?}: take its address out of the declaration and apply it, then write it into that \
                 pool",
                holder.listed.name, pool.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
