//! The names by which machines know the API: lines of /etc/hosts, where the address of a name is written down.
//!
//! Another address of the same name is the harder part of it: the line is all that leads machines there. It is the former one until
//! the API has answered at the other address ([`moved_name`]), whatever variables say.

use muster_engine::prelude::*;

use super::External;
use super::external::MARK;
use crate::cluster::{self, Standing, host_in};

pub(super) const SET: &str = concat!(
    include_str!("kubelet_is_told.sh"),
    include_str!("../hosts_file.sh"),
    include_str!("hosts.sh"),
    include_str!("hosts_set.sh")
);
pub(super) const ARE: &str =
    concat!(include_str!("../hosts_file.sh"), include_str!("hosts.sh"), include_str!("hosts_are.sh"));

/// The name in a line.
fn name_of(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

/// The same lines, with this one in the place of others with its name.
fn with(mut lines: Vec<String>, line: &str) -> Vec<String> {
    if !lines.iter().any(|other| other == line) {
        lines.retain(|other| name_of(other) != name_of(line));
        lines.push(line.to_owned());
    }
    lines
}

/// The lines of /etc/hosts that are muster's become these, of `before`. A kubelet that was led elsewhere by a name starts anew.
fn hosts(before: &[String], lines: Vec<String>) -> Command {
    let label = match lines.last() {
        Some(line) => format!("{} in /etc/hosts", line.trim_end_matches(MARK).trim_end()),
        None => "no address of the API in /etc/hosts".to_owned(),
    };
    let is_moved = |line: &String| !lines.contains(line);
    let moves = if before.iter().any(is_moved) { "moves" } else { "" };
    let args: Vec<String> = std::iter::once(MARK.to_owned()).chain(lines).collect();
    let set = args.iter().take(1).cloned().chain([moves.to_owned()]).chain(args.iter().skip(1).cloned());
    command(label, sh(SET, set), sh(ARE, args))
}

/// The lines of a machine when it is prepared. Where the cluster is not at the wanted address yet, a name that it has been told leads
/// where it has led: that of a machine which does not know it, where it leads a control plane.
fn prepared(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let mut lines = known.hosts_lines(host.name()).to_vec();
    let external = External::wanted(host, known)?;
    let is_told = external.as_ref().is_some_and(|external| known.is_told(external));
    let told = known.endpoint().map(host_in).filter(|_| !is_told);
    let wanted = external.as_ref().and_then(External::line);
    if let Some(line) = wanted.as_ref().filter(|line| name_of(line) != told) {
        lines = with(lines, line);
    }
    let is_known = lines.iter().any(|line| name_of(line) == told);
    if let Some(line) = told.filter(|_| !is_known).and_then(|name| known.line_of(name, external.as_ref())) {
        lines = with(lines, line);
    }
    Ok(lines)
}

/// A machine knows the load balancer's name, before anything leads there. A former name stays as long as something may lead there.
/// `None` where nothing is to be done.
pub(crate) fn known_by_name(host: &Host, known: &Standing) -> Result<Option<Command>> {
    let (before, lines) = (known.hosts_lines(host.name()), prepared(host, known)?);
    Ok((lines != before).then(|| hosts(before, lines)))
}

/// A machine's lines when the name of the API is at its address, where the run brings the cluster there.
fn moved(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let (mut lines, external) = (prepared(host, known)?, External::wanted(host, known)?);
    let Some(external) = external else { return Ok(lines) };
    Ok(match external.line() {
        Some(line) => with(lines, &line),
        // Name servers say where it is.
        None => {
            lines.retain(|line| name_of(line) != Some(external.host().as_str()));
            lines
        }
    })
}

/// A name that machines know already leads to another address from now on: the API has answered there.
pub(crate) fn moved_name(host: &Host, known: &Standing) -> Result<Option<Command>> {
    let (before, lines) = (prepared(host, known)?, moved(host, known)?);
    Ok((lines != before).then(|| hosts(&before, lines)))
}

/// A machine that finds the API where it is to find it forgets names that nothing leads to any more.
pub(crate) fn former_names(host: &Host, known: &Standing) -> Result<Option<Command>> {
    let line = External::wanted(host, known)?.and_then(|external| external.line());
    Ok(only(moved(host, known)?, |other| Some(other) == line.as_deref()))
}

/// The same in a run that leaves the cluster where it is, which may be at a name that variables do not say any more.
pub(crate) fn other_names(host: &Host, known: &Standing) -> Result<Option<Command>> {
    let external = External::wanted(host, known)?;
    let endpoint = cluster::endpoint(host, known)?;
    let used = Some(host_in(&endpoint)).filter(|_| !external.as_ref().is_some_and(|it| known.is_told(it)));
    let line = external.and_then(|external| external.line());
    Ok(only(prepared(host, known)?, |other| Some(other) == line.as_deref() || name_of(other) == used))
}

/// Of these lines only those that stay; `None` where all do.
fn only(lines: Vec<String>, stays: impl Fn(&str) -> bool) -> Option<Command> {
    let kept: Vec<String> = lines.iter().filter(|line| stays(line)).cloned().collect();
    (kept != lines).then(|| hosts(&[], kept))
}

/// Nothing of it is in /etc/hosts.
pub(crate) fn no_names() -> Command {
    hosts(&[], Vec::new())
}
