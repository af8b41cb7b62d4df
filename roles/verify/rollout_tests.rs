//! What is told while the pods of a network are being replaced.

use super::tests::{SEEN, verify};

#[tokio::test]
async fn a_network_whose_pods_are_those_of_a_former_template_is_waited_for() {
    // A DaemonSet of calico's, of this generation, which has been looked at in that one, with so many pods wanted and renewed.
    let told = |set: &str, generation: u8, counts: &str| {
        let empty = "|".repeat(9);
        format!("{SEEN}DaemonSet|kube-system|calico-node|uid11|||||||||{set}{empty}{generation}|2|{counts}\n")
    };
    for (set, generation, counts, found) in [
        ("calico", 2, "3|3", None),
        // off1 is off, and gets its pod when it comes back.
        ("calico", 2, "3|2", None),
        ("calico", 2, "3|1", Some("kube-system/calico-node: 1 of 3 pods are those of its template")),
        ("calico", 2, "3|", Some("kube-system/calico-node: 0 of 3 pods are those of its template")),
        ("calico", 3, "3|3", Some("kube-system/calico-node: 3 of 3 pods are those of its template")),
        // One of a user's own.
        ("", 2, "3|1", None),
    ] {
        let (outcome, _) = verify(&["a", "b", "off1"], &told(set, generation, counts)).await;
        let failure = outcome["a"].failure.as_ref().map(|failure| format!("{failure:?}"));
        match found {
            Some(found) => assert!(failure.as_ref().is_some_and(|said| said.contains(found)), "{failure:?}"),
            None => assert_eq!(failure, None, "{set} {counts}"),
        }
    }
    // What is not looked at is not waited for.
    let (outcome, _) = verify(&["a"], &told("calico", 2, "3|1")).await;
    assert!(outcome["a"].failure.is_none(), "{outcome:?}");
}
