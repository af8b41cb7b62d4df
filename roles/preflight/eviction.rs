//! How much of a disk must stay free on a node, or the kubelet evicts pods and removes images (Kubernetes' "Node-pressure
//! Eviction" and "Garbage collection of unused images").

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::Vars;
use super::settings::{Setting, number};
use crate::common::nearest;

/// What must stay free where pods' volumes and logs are, in MB.
pub(super) fn free_for_pods_mb(vars: &Vars, total_mb: u64) -> u64 {
    free_mb(vars, "nodefs.available", "10%", total_mb)
}

/// What must stay free where images are, in MB.
pub(super) fn free_for_images_mb(vars: &Vars, total_mb: u64) -> u64 {
    let kept = 100_u64.saturating_sub(vars.kubelet_image_gc_high_threshold);
    free_mb(vars, "imagefs.available", "15%", total_mb).max(total_mb * kept / 100)
}

/// Once there is one threshold, those that are not set are none.
fn free_mb(vars: &Vars, signal: &str, default: &str, total_mb: u64) -> u64 {
    let set = vars.eviction_hard.get(signal).map(String::as_str);
    let text = if vars.eviction_hard.is_empty() { default } else { set.unwrap_or("0%") };
    match threshold(text) {
        Some(Threshold::Part(percent)) => (total_mb as f64 * percent / 100.0) as u64,
        Some(Threshold::Bytes(bytes)) => (bytes / 1e6).ceil() as u64,
        // Refused by [`check`], before any machine is looked at.
        None => 0,
    }
}

/// The signals that the kubelet knows (its API, `pkg/kubelet/eviction/api`).
pub(super) const SIGNALS: [&str; 8] = [
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

/// That the kubelet takes the thresholds: with a wrong one it does not start.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let signals = Setting::of(vars, "eviction_hard").and_then(|setting| {
        let value = vars.get("eviction_hard").ok()??;
        let is_unknown = |signal: &str| !SIGNALS.contains(&signal);
        let wrong = |(signal, value): &(&String, &Value)| {
            is_unknown(signal) || value.as_str().and_then(threshold).is_none()
        };
        let (signal, _) = value.as_map()?.iter().find(wrong)?;
        let needed = format!("amounts or percentages in quotes, of {}", SIGNALS.join(", "));
        let remedy = match nearest(signal, &SIGNALS).filter(|_| is_unknown(signal)) {
            Some(meant) => format!("write {meant} in place of {signal}"),
            None => "write them as {memory.available: 100Mi, nodefs.available: \"10%\"}".to_owned(),
        };
        Some(setting.wrong(needed, remedy))
    });
    let garbage = Setting::of(vars, "kubelet_image_gc_low_threshold").and_then(|setting| {
        let high = number(vars, "kubelet_image_gc_high_threshold")?;
        (number(vars, setting.name)? >= high).then(|| {
            let below = format!("less than kubelet_image_gc_high_threshold, {high}");
            setting.wrong(below, format!("set {} to a smaller number", setting.name))
        })
    });
    signals.into_iter().chain(garbage).collect()
}

/// What must stay free.
#[derive(Debug, PartialEq)]
enum Threshold {
    /// Of the whole, in percent.
    Part(f64),
    Bytes(f64),
}

/// Whether a text is a quantity (Kubernetes' "Quantity") that is not negative: `1.5Gi`, `500m`.
pub(super) fn is_quantity(text: &str) -> bool {
    matches!(threshold(text.strip_suffix('m').unwrap_or(text)), Some(Threshold::Bytes(_)))
}

/// `10%`, or a quantity as `1.5Gi` (Kubernetes' "Quantity"), not negative.
fn threshold(text: &str) -> Option<Threshold> {
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = |digits: &str| digits.parse::<f64>().ok().filter(|_| is_number(digits));
    if let Some(percent) = text.strip_suffix('%') {
        return number(percent).filter(|percent| *percent <= 100.0).map(Threshold::Part);
    }
    let units = ["k", "M", "G", "T", "P", "E"].into_iter().zip(1..);
    let units = units.flat_map(|(unit, power)| {
        [(format!("{}i", unit.to_uppercase()), 1024_f64.powi(power)), (unit.to_owned(), 1000_f64.powi(power))]
    });
    let amount = units
        .into_iter()
        .find_map(|(unit, factor)| Some(number(text.strip_suffix(unit.as_str())?)? * factor))
        .or_else(|| number(text));
    amount.map(Threshold::Bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    fn free(yaml: &str) -> (u64, u64) {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap();
        (free_for_pods_mb(&vars, 20_000), free_for_images_mb(&vars, 20_000))
    }

    #[test]
    fn what_must_stay_free_follows_the_variables() {
        assert_eq!(free(""), (2000, 3000), "Kubernetes' own");
        assert_eq!(free("kubelet_image_gc_high_threshold: 75"), (2000, 5000));
        let set = "eviction_hard: {nodefs.available: 1Gi, imagefs.available: '20%'}";
        assert_eq!(free(set), (1074, 4000));
        let only_memory = "eviction_hard: {memory.available: 100Mi}";
        assert_eq!(free(only_memory), (0, 3000), "the collection of images keeps its own threshold");
        assert_eq!(free(&format!("{only_memory}\nkubelet_image_gc_high_threshold: 100")), (0, 0));
    }

    #[test]
    fn amounts_are_kubernetes_quantities() {
        for (text, bytes) in
            [("100", 100.0), ("1k", 1e3), ("1.5Gi", 1.5 * 1024.0 * 1024.0 * 1024.0), ("2Ti", 2_f64.powi(41))]
        {
            assert_eq!(threshold(text), Some(Threshold::Bytes(bytes)), "{text}");
        }
        assert_eq!(threshold("7.5%"), Some(Threshold::Part(7.5)));
        for text in ["", "%", "101%", "-1Gi", "1e3", "inf", "1 Gi", "ten"] {
            assert_eq!(threshold(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_kubelet_would_refuse_is_found_before_it_starts() {
        let rows = [
            ("eviction_hard: {nodefs.available: '10%', pid.available: '1000'}", ""),
            (
                "eviction_hard: {nodefs.free: '10%'}",
                "eviction_hard: {\"nodefs.free\":\"10%\"} (vars.yml:1:16)",
            ),
            (
                "eviction_hard: {nodefs.available: 10}",
                "eviction_hard: {\"nodefs.available\":10} (vars.yml:1:16)",
            ),
            ("kubelet_image_gc_low_threshold: 85", "kubelet_image_gc_low_threshold: 85 (vars.yml:1:33)"),
            ("kubelet_image_gc_high_threshold: 80", "kubelet_image_gc_low_threshold: 80"),
            ("kubelet_image_gc_high_threshold: 100", ""),
        ];
        for (yaml, found) in rows {
            let problems: Vec<_> = check(&variables(yaml)).iter().map(told).collect();
            assert_eq!(problems.join("; "), found, "{yaml}");
        }
    }
}
