//! What follows from machines' identities.

use std::sync::Arc;

use muster_engine::prelude::Problem;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::certificate::Certificate;
use super::identity::{Authority, Identity, Kubeconfig, Member};
use super::standing::{Standing, Story, Wanted};
use crate::balancer::External;
use crate::preflight::fixture::variables;

/// A certificate in PEM, of an authority or of a node.
pub(crate) fn certificate(common_name: &str, is_authority: bool) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

/// The authority of a certificate.
pub(super) fn authority(pem: &str) -> Authority {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Identity::parse(&format!("ca {base64}")).ca.unwrap()
}

/// Some authorities, told apart by a number.
fn numbered(number: u8) -> Authority {
    Identity::parse(&format!("ca AAA{number}")).ca.unwrap()
}

fn kubeconfig(number: u8) -> Option<Kubeconfig> {
    Some(Kubeconfig { server: "https://192.0.2.10:6443".into(), authority: Some(numbered(number)) })
}

/// A control plane of the cluster with this authority.
pub(super) fn plane(number: u8) -> Identity {
    Identity {
        admin: kubeconfig(number),
        ca: Some(numbered(number)),
        ca_key: true,
        settled: true,
        ..worker(number)
    }
}

pub(super) fn worker(number: u8) -> Identity {
    Identity { kubelet: kubeconfig(number), node: Some("a".into()), ..Identity::default() }
}

/// A machine on which `kubeadm init` was cut off.
fn begun(number: u8) -> Identity {
    Identity { ca: Some(numbered(number)), ca_key: true, ..Identity::default() }
}

pub(super) fn member(number: u8, name: &str) -> Identity {
    let mut identity = Identity::default();
    identity.etcd.data = vec!["/var/lib/etcd".into()];
    identity.etcd.authority = Some(numbered(number));
    identity.etcd.name = Some(name.into());
    identity
}

/// Control planes a and b, members of etcd a to c, a worker w; `None` where it could not be asked.
pub(super) fn standing(machines: &[(&str, Option<Identity>)]) -> Standing {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let seen = |name: &&str| {
        let known = machines.iter().find(|(known, _)| known == name);
        let identity = known.map_or(Some(Identity::default()), |(_, identity)| identity.clone());
        ((*name).to_owned(), identity.map(Arc::new).ok_or_else(|| "no answer".to_owned()))
    };
    Standing {
        planes: texts(&["a", "b"]),
        members: texts(&["a", "b", "c"]),
        in_run: texts(&["a", "b", "c", "w"]),
        addresses: vec!["192.0.2.10".parse().unwrap()],
        machines: ["a", "b", "c", "w"].iter().map(seen).collect(),
        lists: Default::default(),
    }
}

pub(super) fn both(plane: Identity, member: Identity) -> Option<Identity> {
    Some(Identity { etcd: member.etcd, ..plane })
}

fn found(problem: Problem) -> String {
    problem.found
}

#[test]
fn certificates_that_end_soon_are_told() {
    let day = 24 * 3600;
    let now = time::OffsetDateTime::now_utc().unix_timestamp() + 60;
    let certificate = |file: &str, days: i64| super::Certificate {
        path: format!("/etc/{file}"),
        name: "a".into(),
        is_authority: false,
        ends: Some(now + days * day),
    };
    let told = |certificates: Vec<super::Certificate>| {
        let seen = Identity { certificates, ..plane(1) };
        standing(&[("a", Some(seen))]).warnings()
    };
    assert_eq!(
        told(vec![certificate("admin.conf", 60), certificate("kubelet-client-current.pem", 30)]),
        [""; 0]
    );
    let warnings = told(vec![certificate("admin.conf", 59), certificate("apiserver.crt", -2)]);
    assert!(
        warnings.len() == 1
            && warnings[0].starts_with(
                "certificates of a: admin.conf ends in 59 days, apiserver.crt has ended; muster certs"
            ),
        "{warnings:?}"
    );
    let authority = super::Certificate { is_authority: true, ..certificate("ca.crt", -2) };
    let certificates = vec![certificate("admin.conf", 0), certificate("apiserver.crt", -2), authority];
    let seen = Identity { certificates, ..plane(1) };
    let ended = standing(&[("a", Some(seen)), ("b", None)]);
    let ended = ended.ended(time::OffsetDateTime::from_unix_timestamp(now).unwrap());
    assert_eq!(ended.into_iter().collect::<Vec<_>>(), [("a", vec!["apiserver.crt"])]);
}

#[test]
fn an_api_server_that_asks_only_some_members_is_known() {
    let urls =
        |numbers: &[u8]| numbers.iter().map(|n| format!("https://192.0.2.{n}:2379")).collect::<Vec<_>>();
    let asking = |asked: &[u8]| Some(Identity { etcd_servers: urls(asked), ..plane(1) });
    let may_miss =
        |a: &[u8], b: &[u8]| standing(&[("a", asking(a)), ("b", asking(b))]).may_miss_members(&urls(&[1, 2]));
    assert!(may_miss(&[1], &[1, 2]) && may_miss(&[1, 2], &[2]));
    assert!(!may_miss(&[1, 2], &[2, 1]) && !may_miss(&[1, 2, 3], &[1, 2]));
    // One that does not say whom it asks keeps nobody from anything.
    assert!(!may_miss(&[], &[1, 2]));
    let both = standing(&[("a", asking(&[1])), ("b", asking(&[1, 2])), ("c", asking(&[]))]);
    assert_eq!(both.asking_none_of(&urls(&[2])), ["a"]);
    assert_eq!(both.asking_none_of(&urls(&[3])), ["a", "b"]);
    assert_eq!(both.asking_none_of(&urls(&[1, 3])), Vec::<&str>::new());
}

#[test]
fn a_host_that_was_given_up_is_known_until_it_is_back() {
    let mut seen = member(1, "etcd1");
    seen.etcd.restored = Some("restored-1-5f-ab12cd34 ab12 7 saved without:b,c".into());
    let machines = |b: Option<Identity>| standing(&[("a", Some(seen.clone())), ("b", b)]);
    assert!(machines(None).is_given_up("b") && !machines(None).is_given_up("a"));
    assert!(!machines(Some(Identity::default())).is_given_up("b"), "it was installed anew");
    assert!(!machines(Some(plane(1))).is_given_up("b"));
}

#[test]
fn an_authority_is_known_by_its_key() {
    let key = KeyPair::generate().unwrap();
    let pem = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&key).unwrap().pem()
    };
    assert_eq!(authority(&pem("a")), authority(&pem("renewed")));
    assert_ne!(authority(&pem("a")), authority(&certificate("a", true)));
    assert_eq!(numbered(1).to_string().len(), 8);
}

#[test]
#[rustfmt::skip]
fn who_begins_a_cluster_follows_from_what_the_machines_are() {
    let none = Some(Identity::default());
    // Each row: machines, and who begins, or why nobody may.
    type Row<'r> = (Vec<(&'r str, Option<Identity>)>, Result<Option<&'r str>, &'r str>);
    // It runs, and the mark of its end is lost; or that of a beginning is there; or somebody has taken admin.conf away.
    let unmarked =
        Identity { settled: false, admin: None, version: Some("1.36.3".into()), ..plane(1) };
    let cut_off = Identity { begins: true, ..unmarked.clone() };
    // `kubeadm reset` leaves the marks and the authority.
    let taken_away = Identity { admin: None, kubelet: None, version: None, ..plane(1) };
    // It has the authority of etcd, as each control plane gets it before the cluster begins.
    let with_etcd = |number: u8, of: Identity| {
        let mut seen = of;
        seen.etcd.authority = Some(numbered(number));
        seen
    };
    let stranger = member(2, "etcd1");
    let rows: [Row; 16] = [
        (vec![("b", Some(with_etcd(2, taken_away.clone()))), ("c", Some(stranger.clone()))], Ok(Some("b"))),
        (vec![("b", Some(with_etcd(1, taken_away.clone()))), ("c", Some(stranger.clone()))], Err("that is not the one whose etcd is on c")),
        (vec![("b", Some(begun(1))), ("c", Some(stranger))], Err("that is not the one whose etcd is on c")),
        (vec![("b", Some(taken_away))], Ok(Some("b"))),
        (vec![("b", Some(unmarked.clone()))], Err("a control plane runs on b of which there is no sign")),
        (vec![("b", Some(cut_off))], Ok(Some("b"))),
        (vec![("b", Some(Identity { admin: None, ..plane(1) }))], Err("b is a control plane, and has no /etc/kubernetes/admin.conf")),
        (vec![("b", Some(unmarked)), ("a", Some(plane(1)))], Ok(None)),
        (vec![], Ok(Some("a"))),
        (vec![("a", Some(plane(1)))], Ok(None)),
        (vec![("b", Some(plane(1)))], Ok(None)),
        (vec![("b", Some(begun(1)))], Ok(Some("b"))),
        (vec![("b", None)], Err("because b could not be asked (no answer)")),
        (vec![("c", None), ("a", none.clone())], Err("because c could not be asked (no answer)")),
        (vec![("b", None), ("a", Some(plane(1)))], Ok(None)),
        (vec![("w", Some(worker(1)))], Err("w belongs to a cluster (CA ")),
    ];
    for (row, (machines, expected)) in rows.into_iter().enumerate() {
        let standing = standing(&machines);
        match (standing.birthplace(), expected) {
            (Ok(begins), Ok(expected)) => assert_eq!(begins, expected, "row {row}"),
            (Err(problem), Err(expected)) => assert!(problem.found.contains(expected), "row {row}: {problem:?}"),
            (other, expected) => panic!("row {row}: {other:?}, not {expected:?}"),
        }
    }
    let stands = standing(&[("b", Some(plane(1)))]);
    assert_eq!((stands.story("a").unwrap(), stands.story("b").unwrap()), (Story::Join, Story::Reconfigure));
    assert_eq!(stands.in_order().unwrap(), ["b", "a"]);
    assert_eq!((stands.leader(), stands.endpoint()), (Some("b"), Some("192.0.2.10:6443")));
    let new = standing(&[]);
    assert_eq!((new.story("a").unwrap(), new.story("b").unwrap()), (Story::Birth, Story::Join));
}

#[test]
fn every_node_is_asked_before_a_cluster_begins_and_who_is_silent_is_named() {
    let begins = |machines: &[(&str, Option<Identity>)]| standing(machines).begins_here();
    assert!(begins(&[]) && begins(&[("w", None)]));
    // It stands, it has begun, nobody may begin it.
    for (name, identity) in
        [("a", Some(plane(1))), ("b", Some(begun(1))), ("b", None), ("w", Some(worker(1)))]
    {
        assert!(!begins(&[(name, identity.clone())]), "{name} {identity:?}");
    }
    let elsewhere = Standing { in_run: vec!["w".into()], ..standing(&[]) };
    assert!(!elsewhere.begins_here(), "none of the run is to begin it");
    let warnings = standing(&[("w", None)]).warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("whether w belongs to another one"), "{warnings:?}");
    for machines in [vec![], vec![("a", Some(plane(1))), ("w", None)]] {
        assert_eq!(standing(&machines).warnings(), Vec::<String>::new());
    }
}

#[test]
fn a_control_plane_that_left_its_group_is_named_and_not_touched() {
    let told = |machines: &[(&str, Option<Identity>)]| standing(machines).warnings();
    let warnings = told(&[("a", Some(plane(1))), ("c", Some(plane(1))), ("w", Some(worker(1)))]);
    assert!(
        warnings.len() == 1
            && warnings[0]
                .starts_with("c is a control plane of the cluster, and not in [kube_control_plane]"),
        "{warnings:?}"
    );
    // One of another cluster is refused.
    assert_eq!(told(&[("a", Some(plane(1))), ("c", Some(plane(2)))]), Vec::<String>::new());
}

#[test]
fn whose_a_machine_is_follows_from_what_is_on_it() {
    let of_plane = plane(1);
    let at = |machines: &[(&str, Option<Identity>)], name: &str| standing(machines).is_ours(name);
    let cluster = |other: Option<Identity>| [("a", both(of_plane.clone(), member(8, "etcd1"))), ("w", other)];
    assert_eq!(at(&cluster(Some(worker(1))), "w"), Some(true));
    assert_eq!(at(&cluster(Some(worker(2))), "w"), Some(false));
    // Installed anew; or off.
    assert_eq!(at(&cluster(Some(Identity::default())), "w"), None);
    assert_eq!(at(&cluster(None), "w"), None);
    // A member of etcd alone is known by etcd's own authority, if another member has it.
    let members = |a: u8| {
        at(&[("a", both(of_plane.clone(), member(a, "etcd1"))), ("c", Some(member(8, "etcd3")))], "c")
    };
    assert_eq!((members(8), members(7)), (Some(true), Some(false)));
    assert_eq!(at(&[("a", Some(of_plane.clone())), ("c", Some(member(8, "etcd3")))], "c"), None);
}

#[test]
fn machines_of_a_reset_that_was_cut_off_are_still_the_clusters() {
    let refused = |machines: &[(&str, Option<Identity>)]| standing(machines).is_anothers("c", "a");
    let stays = || ("c", both(worker(1), member(8, "etcd3")));
    // The others are reset; or one has its data of etcd still, or its certificates.
    assert_eq!(refused(&[("a", Some(Identity::default())), ("b", Some(Identity::default())), stays()]), None);
    assert_eq!(refused(&[("a", Some(Identity::default())), ("b", Some(member(8, "etcd2"))), stays()]), None);
    assert_eq!(refused(&[("a", Some(begun(1))), stays()]), None);
    let strange = refused(&[("a", Some(Identity::default())), ("b", Some(member(7, "etcd2"))), stays()]);
    assert_eq!(strange.as_deref(), Some("c holds etcd of another cluster"));
}

#[test]
fn a_member_of_etcd_that_no_control_plane_knows_may_be_anothers() {
    let unknown = |machines: &[(&str, Option<Identity>)], name: &str| {
        standing(machines).holds_unknown_etcd(name).is_some()
    };
    let fresh = || [("a", Some(Identity::default())), ("b", Some(Identity::default()))];
    let with = |all: [(&'static str, Option<Identity>); 2], more| [&all[..], &[more]].concat();
    let plane = |etcd: u8| ("a", both(begun(1), member(etcd, "etcd1")));
    let only = || ("c", Some(member(8, "etcd3")));
    assert!(unknown(&with(fresh(), only()), "c"), "its address may be a mistaken one");
    assert!(unknown(&[plane(7), only()], "c"));
    assert!(!unknown(&[plane(8), only()], "c"));
    // What else it carries tells whose it is; and a control plane may have been cut off before it had anything.
    assert!(!unknown(&with(fresh(), ("c", both(worker(1), member(8, "etcd3")))), "c"));
    assert!(!unknown(&[("a", Some(member(8, "etcd1")))], "a"));
}

#[test]
fn a_member_without_a_certificate_of_ours_is_another_tools() {
    let mut ours = member(1, "etcd1");
    ours.certificates = vec![Certificate::of("/etc/ssl/etcd/ssl/member.pem", &[])];
    let with = |member: &Identity| standing(&[("c", Some(member.clone()))]);
    assert_eq!(standing(&[]).member_of_others(), None);
    assert_eq!(with(&ours).member_of_others(), None);
    // kubespray has member-NAME.pem.
    assert_eq!(with(&member(1, "etcd1")).member_of_others(), Some("c"));
    ours.certificates = vec![Certificate::of("/etc/ssl/etcd/ssl/ca.pem", &[])];
    assert_eq!(with(&ours).member_of_others(), Some("c"));
}

#[test]
fn etcd_begins_only_where_no_member_could_be() {
    let begins = |machines: &[(&str, Option<Identity>)]| {
        standing(machines).etcd_begins().map(|name| name.map(str::to_owned)).map_err(found)
    };
    assert_eq!(begins(&[]), Ok(Some("a".into())));
    assert_eq!(begins(&[("c", Some(member(1, "etcd3")))]), Ok(None));
    assert_eq!(begins(&[("c", Some(member(1, "etcd3"))), ("b", None)]), Ok(None));
    let off = "etcd may have data on c, which could not be asked (no answer)";
    assert_eq!(begins(&[("c", None)]), Err(off.into()));
    assert!(
        begins(&[("b", Some(plane(1)))])
            .unwrap_err()
            .contains("no etcd member has data, and b is a control plane")
    );
}

#[test]
fn members_keep_their_names_and_new_ones_take_free_ones() {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(host, name)| ((*host).to_owned(), (*name).to_owned())).collect()
    };
    let named = |machines: &[(&str, Option<Identity>)], given: &[(&str, &str)], listed: &[(&str, &str)]| {
        standing(machines).member_names(&map(given), &map(listed)).into_values().collect::<Vec<_>>()
    };
    let names = |machines: &[(&str, Option<Identity>)], given: &[(&str, &str)]| named(machines, given, &[]);
    assert_eq!(names(&[], &[]), ["etcd1", "etcd2", "etcd3"]);
    assert_eq!(names(&[("b", Some(member(1, "etcd1")))], &[]), ["etcd2", "etcd1", "etcd3"]);
    assert_eq!(names(&[("c", Some(member(1, "db")))], &[("a", "etcd2")]), ["etcd2", "etcd1", "db"]);
    // A member that is not in the inventory has its name, and so has one that could not be asked, or lost its data.
    let others = [("b", Some(member(1, "etcd2"))), ("c", Some(member(1, "etcd3")))];
    assert_eq!(names(&others, &[]), ["etcd1", "etcd2", "etcd3"]);
    assert_eq!(named(&others, &[], &[("https://192.0.2.4:2380", "etcd1")]), ["etcd4", "etcd2", "etcd3"]);
    assert_eq!(named(&others[1..], &[], &[("b", "etcd1")]), ["etcd2", "etcd1", "etcd3"]);
    let joins = |machines: &[(&str, Option<Identity>)]| standing(machines).joins_etcd("a");
    assert!(joins(&others) && !joins(&[]) && !joins(&[("a", Some(member(1, "etcd1")))]));
    let order = standing(&[("c", Some(member(1, "etcd1")))]).members_in_order();
    assert_eq!(order, ["c", "a", "b"]);
}

#[test]
fn an_address_of_the_api_is_known_by_who_was_told_of_it() {
    let conf =
        |server: &str| Some(Kubeconfig { server: format!("https://{server}"), authority: Some(numbered(1)) });
    let line = "192.0.2.20 api.example.org # muster: loadbalancer_apiserver";
    let told = Identity {
        admin: conf("api.example.org:8443"),
        kubelet: conf("api.example.org:8443"),
        external: vec!["api.example.org:8443".into()],
        hosts_lines: vec![line.into()],
        serves_as: vec!["api.example.org".into()],
        ..plane(1)
    };
    let known = standing(&[("a", Some(plane(1))), ("b", Some(told.clone())), ("w", Some(worker(1)))]);
    let external =
        |yaml: &str| External::of(&variables(&format!("loadbalancer_apiserver: {yaml}"))).unwrap().unwrap();
    // The first one that is told shows that all may be.
    let is_told = |known: &Standing, yaml: &str| known.is_told(&external(yaml));
    let name = "\napiserver_loadbalancer_domain_name: api.example.org";
    let named = |address: &str| format!("{{{address} port: 8443}}{name}");
    assert!(is_told(&known, "{address: 192.0.2.10}"));
    // Where name servers are to say the address, no line is left that says it.
    let by_name_servers = Identity { hosts_lines: Vec::new(), ..told.clone() };
    let all_by_servers = standing(&[("b", Some(by_name_servers.clone()))]);
    assert!(!is_told(&known, &named("")) && is_told(&all_by_servers, &named("")));
    assert!(known.has_line_of("api.example.org") && !known.has_line_of("api.example"));
    let stale = Identity { hosts_lines: vec![line.replace("2.20", "2.19")], ..told.clone() };
    let some_stale = standing(&[("a", Some(stale.clone())), ("b", Some(told.clone()))]);
    let address_at = |known: &Standing, wanted: Option<&External>| {
        known.address_at("api.example.org", wanted).map(|address| address.to_string())
    };
    let (here, by_servers) = (external(&named("address: 192.0.2.20,")), external(&named("")));
    assert_eq!(some_stale.line_of("api.example.org", Some(&here)), Some(line));
    assert_eq!(address_at(&some_stale, Some(&here)).as_deref(), Some("192.0.2.20"));
    assert_eq!(address_at(&some_stale, None).as_deref(), Some("192.0.2.19"));
    // Name servers are to say it: as long as none of them finds it so, the lines count.
    assert_eq!(address_at(&some_stale, Some(&by_servers)).as_deref(), Some("192.0.2.19"));
    let one_stale = standing(&[("a", Some(stale)), ("b", Some(by_name_servers))]);
    assert_eq!(address_at(&one_stale, Some(&by_servers)), None);
    assert!(!is_told(&known, "{address: 192.0.2.20, port: 8443}"));
    // Another address of the name is another one; and so is the same while a control plane of the run does not have it.
    assert!(!is_told(&known, &named("address: 192.0.2.21,")));
    assert!(!is_told(&known, &named("address: 192.0.2.20,")));
    let without = Standing { in_run: vec!["b".into(), "w".into()], ..known.clone() };
    assert!(is_told(&without, &named("address: 192.0.2.20,")));
    assert_eq!(address_at(&known, None).as_deref(), Some("192.0.2.20"));
    let others = ["192.0.2.9", "other"].map(|host| known.address_at(host, None));
    assert_eq!(others, ["192.0.2.9".parse().ok(), None]);
    assert!(known.was_brought_to("api.example.org:8443") && !known.was_brought_to("192.0.2.10:6443"));
    assert!(known.serves_as("b", "api.example.org") && !known.serves_as("a", "api.example.org"));
    assert!(known.lacks_hosts_line(line));
    let by_name = Identity { admin: None, ca_key: false, settled: false, ..told };
    assert_eq!(
        by_name.api_addresses().collect::<Vec<_>>(),
        ["192.0.2.20".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(!standing(&[("w", Some(by_name))]).lacks_hosts_line(line));
}

#[test]
#[rustfmt::skip]
fn what_does_not_belong_is_refused() {
    let wanted = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = Wanted {
            node_name: "a".into(), address: "192.0.2.10".parse().ok(), ipv6: false, address6: None, access: "192.0.2.10".parse().ok(), control_plane: false, worker: false, etcd: false,
            etcd_data_dir: "/var/lib/etcd".into(), port: 6443,
            version: "1.36.3".into(), upgrades: false, adopts: false, settled: vec![("podSubnet", "kube_pods_subnet", "10.233.64.0/18".into())],
            kept: vec![("state", "containerd_state_dir", "/run/containerd".into()), ("clusterDNS", "skydns_server", "10.233.0.3".into()), ("etcd_cert_dir", "etcd_cert_dir", "/etc/ssl/etcd/ssl".into()), ("network", "kube_network_plugin", "calico".into())],
        };
        change(&mut wanted);
        wanted
    };
    let version = |version: &str| Identity { version: Some(version.into()), ..plane(1) };
    let kubelet = |version: &str| Identity { kubelet_version: Some(version.into()), ..worker(1) };
    let begun_with = |pods: &str| Identity { begun: vec![("podSubnet".into(), pods.into())], ..plane(1) };
    let asks_etcd = |number| {
        let etcd = Member { authority: Some(numbered(number)), ..Member::default() };
        Identity { etcd, ..plane(1) }
    };
    let keeps = |list: &[(&str, &str)], identity: Identity| {
        let kept = list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Identity { kept, ..identity }
    };
    let at = |ip: &str, identity: Identity| Identity { node_ip: ip.parse().ok(), ..identity };
    let known_at = |ip: &str| {
        let member = member(1, "etcd1");
        Identity { etcd: Member { peer_url: Some(format!("https://{ip}:2380")), ..member.etcd.clone() }, ..member }
    };
    let foreign_server = Identity {
        kubelet: Some(Kubeconfig { server: "https://198.51.100.1:6443".into(), authority: Some(numbered(2)) }), ..worker(2)
    };
    let taken_away = |version: &str| {
        Identity { admin: None, kubelet: None, version_told: Some(version.into()), ..plane(1) }
    };
    type Row<'r> = (&'r str, Vec<(&'r str, Option<Identity>)>, &'r dyn Fn(&mut Wanted), &'r [&'r str]);
    let rows: &[Row] = &[
        ("w", vec![], &|_| {}, &[]),
        ("w", vec![("w", None)], &|_| {}, &["cluster: which cluster w is in is not known (no answer)"]),
        ("w", vec![("a", Some(plane(1))), ("w", Some(worker(1)))], &|_| {}, &[]),
        ("w", vec![("a", Some(plane(1))), ("w", Some(worker(2)))], &|_| {}, &["cluster: w belongs to a former cluster of these machines (CA "]),
        ("w", vec![("a", Some(plane(1))), ("w", Some(foreign_server.clone()))], &|_| {}, &["cluster: w belongs to another cluster (CA "]),
        ("w", vec![("w", Some(worker(1)))], &|_| {}, &["cluster: w belongs to a cluster (CA "]),
        // The control planes are off: the address tells.
        ("w", vec![("a", None), ("b", None), ("w", Some(worker(2)))], &|_| {}, &[]),
        ("w", vec![("a", None), ("b", None), ("w", Some(foreign_server))], &|_| {}, &["cluster: w belongs to another cluster (CA "]),
        ("a", vec![("a", Some(plane(1))), ("b", Some(plane(2)))], &|w| w.control_plane = true, &["cluster: machines of two clusters: a has the CA "]),
        ("a", vec![("a", Some(worker(1))), ("b", Some(plane(1)))], &|w| w.control_plane = true, &["cluster: a is a worker of the cluster"]),
        ("a", vec![("a", Some(Identity { ca_key: false, ..plane(1) }))], &|w| w.control_plane = true, &["cluster: a is a control plane, and its CA's key is not in kube_cert_dir"]),
        // Nobody is told to take that control plane away, whatever the folder is.
        ("w", vec![("a", Some(Identity { ca_key: false, ca: None, ..plane(1) })), ("w", Some(worker(1)))], &|_| {}, &["cluster: a is a control plane, and its CA's key is not in kube_cert_dir"]),
        // `kubeadm reset` took the API server away, and not the version.
        ("w", vec![("a", Some(taken_away("1.36.2")))], &|_| {}, &["kube_version: 1.36.3, but the cluster runs 1.36.2"]),
        ("a", vec![("b", None)], &|w| w.control_plane = true, &["cluster: whether a cluster exists is not known"]),
        ("a", vec![("c", None)], &|w| w.etcd = true, &["cluster: etcd may have data on c"]),
        ("a", vec![("a", both(plane(1), member(1, "etcd1"))), ("b", both(plane(1), member(2, "etcd2")))], &|w| w.etcd = true, &["etcd: machines of two clusters"]),
        // A worker that comes alone brings no family of its own.
        ("w", vec![("a", Some(Identity { begun: vec![("ipv6".into(), "false".into())], ..plane(1) })), ("w", Some(Identity::default()))], &|w| { w.worker = true; w.settled = vec![("ipv6", "ipv6_stack", "true".into())]; }, &["ipv6_stack: true, but the cluster was begun with false"]),
        // What runs on a machine cannot be moved under it; where nothing runs it is no matter.
        ("a", vec![("a", Some(keeps(&[("state", "/run/other")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &["containerd_state_dir: /run/containerd, but a runs with /run/other"]),
        ("a", vec![("a", Some(keeps(&[("state", "/run/other"), ("etcd_cert_dir", "/x")], Identity::default()))), ("b", Some(plane(1)))], &|_| {}, &[]),
        ("a", vec![("a", Some(keeps(&[("network", "flannel")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &["kube_network_plugin: calico, but a runs with flannel"]),
        ("a", vec![("a", Some(keeps(&[("clusterDNS", "10.233.0.10")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &["skydns_server: 10.233.0.3, but a runs with 10.233.0.10"]),
        ("a", vec![("a", Some(keeps(&[("clusterDNS", "169.254.25.10"), ("clusterDNS", "10.233.0.3"), ("state", "/run/containerd")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &[]),
        ("a", vec![("a", Some(keeps(&[("clusterDNS", "169.254.25.10"), ("clusterDNS", "10.233.0.10")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &["skydns_server: 10.233.0.3, but a runs with 10.233.0.10"]),
        ("a", vec![("a", Some(keeps(&[("clusterDNS", "169.254.25.10")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &[]),
        ("a", vec![("a", Some(keeps(&[("clusterDNS", "10.233.0.3"), ("clusterDNS", "10.233.0.4")], worker(1)))), ("b", Some(plane(1)))], &|_| {}, &[]),
        ("c", vec![("a", Some(plane(1))), ("c", Some(keeps(&[("etcd_cert_dir", "/x")], member(1, "etcd1"))))], &|w| { w.etcd = true; w.node_name = "c".into() }, &["etcd_cert_dir: /etc/ssl/etcd/ssl, but c runs with /x"]),
        ("a", vec![("a", Some(keeps(&[("network", "calico")], worker(1)))), ("b", Some(plane(1)))], &|w| w.kept = vec![("network", "kube_network_plugin", "none".into())], &[]),
        // One that joins is held to what the cluster has, also where that control plane takes no part.
        ("a", vec![("a", Some(Identity::default())), ("b", Some(begun_with("10.1.0.0/16")))], &|w| w.control_plane = true, &["kube_pods_subnet: 10.233.64.0/18, but the cluster was begun with 10.1.0.0/16"]),
        ("w", vec![("a", Some(begun_with("10.1.0.0/16"))), ("w", Some(Identity::default()))], &|w| w.worker = true, &[]),
        ("w", vec![("a", Some(keeps(&[("network", "flannel")], plane(1)))), ("w", Some(Identity::default()))], &|w| w.worker = true, &["kube_network_plugin: calico, but a runs with flannel"]),
        // A machine of etcd alone, of another cluster, be it down or not; and one of this cluster.
        ("c", vec![("a", Some(asks_etcd(1))), ("c", Some(member(2, "etcd1")))], &|w| { w.etcd = true; w.node_name = "c".into() }, &["cluster: c holds etcd of another cluster (CA "]),
        ("c", vec![("a", Some(asks_etcd(1))), ("c", Some(member(1, "etcd1")))], &|w| { w.etcd = true; w.node_name = "c".into() }, &[]),
        ("a", vec![("a", Some(member(1, "etcd1")))], &|w| { w.etcd = true; w.etcd_data_dir = "/srv".into() }, &["etcd_data_dir: /srv, but the data of a is in /var/lib/etcd"]),
        ("a", vec![("a", Some(worker(1))), ("b", Some(plane(1)))], &|w| w.node_name = "other".into(), &["node name: other, but the machine a is in the cluster as the node a"]),
        ("a", vec![("a", Some(at("192.0.2.9", worker(1)))), ("b", Some(plane(1)))], &|_| {}, &["ip: 192.0.2.10 of a, which joined the cluster with 192.0.2.9"]),
        ("a", vec![("a", Some(at("192.0.2.10", worker(1)))), ("b", Some(plane(1)))], &|_| {}, &[]),
        // etcd's members were known by the address of listening, before they were by the one at which they are reached.
        ("a", vec![("a", Some(known_at("192.0.2.10")))], &|w| { w.etcd = true; w.access = "198.51.100.10".parse().ok() }, &[]),
        ("a", vec![("a", Some(known_at("198.51.100.10")))], &|w| { w.etcd = true; w.access = "198.51.100.10".parse().ok() }, &[]),
        ("a", vec![("a", Some(known_at("198.51.100.9")))], &|w| { w.etcd = true; w.access = "198.51.100.10".parse().ok() },
         &["access_ip: 198.51.100.10 of a, which is a member of etcd with 198.51.100.9"]),
        ("w", vec![("a", Some(version("1.36.2")))], &|_| {}, &["kube_version: 1.36.3, but the cluster runs 1.36.2"]),
        ("w", vec![("a", Some(version("1.36.3")))], &|_| {}, &[]),
        ("w", vec![("a", Some(version("1.36.3"))), ("b", Some(version("1.37.2")))], &|_| {}, &["kube_version: the control planes run 1.36.3 and 1.37.2: an upgrade was cut off"]),
        ("w", vec![("a", Some(version("1.36.3"))), ("b", Some(version("1.37.2")))], &|w| { w.upgrades = true; w.version = "1.37.2".into() }, &[]),
        ("w", vec![("a", Some(version("1.35.3"))), ("b", Some(version("1.37.2")))], &|w| { w.upgrades = true; w.version = "1.37.2".into() }, &["kube_version: 1.37.2, but the cluster runs 1.35.3"]),
        ("w", vec![("a", Some(version("1.36.3"))), ("w", Some(kubelet("1.36.3")))], &|_| {}, &[]),
        ("w", vec![("a", Some(version("1.36.3"))), ("w", Some(kubelet("1.35.4")))], &|_| {}, &["kubelet: w is a node of Kubernetes 1.35.4, and the cluster is to be 1.36.3"]),
        // The inventory still has the version from before an upgrade that was cut off.
        ("w", vec![("a", Some(version("1.37.2"))), ("w", Some(kubelet("1.36.3")))], &|_| {}, &["kube_version: the control planes run 1.37.2, and the kubelet of w is 1.36.3: an upgrade was cut off"]),
        ("w", vec![("a", Some(version("1.37.2"))), ("w", Some(kubelet("1.36.3")))], &|w| w.upgrades = true, &["kube_version: the control planes run 1.37.2, and the kubelet of w is 1.36.3: an upgrade was cut off"]),
        ("w", vec![("a", Some(version("1.37.2"))), ("w", Some(kubelet("1.37.2")))], &|_| {}, &["kube_version: 1.36.3, but the cluster runs 1.37.2"]),
        ("w", vec![("a", None), ("b", None), ("w", Some(kubelet("1.37.0")))], &|_| {}, &["kubelet: w is a node of Kubernetes 1.37.0, and the cluster is to be 1.36.3"]),
        ("w", vec![("a", Some(version("1.35.4"))), ("w", Some(kubelet("1.35.4")))], &|_| {}, &["kube_version: 1.36.3, but the cluster runs 1.35.4"]),
        ("w", vec![("a", Some(version("1.36.3"))), ("w", Some(kubelet("1.35.4")))], &|w| w.upgrades = true, &[]),
        ("a", vec![("a", Some(begun_with("10.244.0.0/16")))], &|w| w.control_plane = true, &["kube_pods_subnet: 10.233.64.0/18, but the cluster was begun with 10.244.0.0/16"]),
        ("a", vec![("a", Some(begun_with("10.233.64.0/18")))], &|w| w.control_plane = true, &[]),
        // A load balancer in front of the API servers may have another port than they.
        ("a", vec![("a", Some(Identity { api_port: Some(8443), ..plane(1) }))], &|w| { w.control_plane = true; w.port = 8443 }, &[]),
        ("a", vec![("a", Some(Identity { api_port: Some(6443), ..plane(1) }))], &|w| { w.control_plane = true; w.port = 8443 }, &["kube_apiserver_port: 8443, but the API server listens at 6443"]),
        ("a", vec![("a", Some(plane(1)))], &|w| { w.control_plane = true; w.port = 8443 }, &["kube_apiserver_port: 8443, but the cluster's machines know its API at https://192.0.2.10:6443"]),
    ];
    for (row, (name, machines, change, expected)) in rows.iter().enumerate() {
        let problems = standing(machines).problems_of_set_up(name, &wanted(change));
        let told: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.check, p.found)).collect();
        assert_eq!(told.len(), expected.len(), "row {row}: {told:?}");
        assert!(told.iter().zip(*expected).all(|(told, expected)| told.starts_with(expected)), "row {row}: {told:?}");
        // Care of a cluster does not ask for its versions.
        let care = standing(machines).problems(name, &wanted(change));
        assert!(care.iter().all(|p| !["kube_version", "kubelet"].contains(&p.check.as_str())), "row {row}: {care:?}");
    }
}

/// `muster remove-node` refuses the last one.
#[test]
fn the_only_control_plane_is_not_told_to_leave_and_join_anew() {
    let wanted = Wanted {
        node_name: "other".into(),
        address: "192.0.2.10".parse().ok(),
        kept: vec![("root", "containerd_storage_dir", "/srv".into())],
        version: "1.36.3".into(),
        ..Wanted::default()
    };
    let seen = Identity {
        kept: vec![("root".into(), "/var/lib/containerd".into())],
        node_ip: "192.0.2.9".parse().ok(),
        ..plane(1)
    };
    let two = standing(&[("a", Some(seen)), ("b", Some(plane(1)))]);
    let one = Standing { planes: vec!["a".into()], ..two.clone() };
    for (standing, leaves) in [(two, true), (one, false)] {
        let problems = standing.problems("a", &wanted);
        let checks: Vec<&str> = problems.iter().map(|problem| problem.check.as_str()).collect();
        assert_eq!(checks, ["containerd_storage_dir", "node name", "ip"]);
        for problem in problems {
            assert_eq!(problem.remedy.contains("muster remove-node a"), leaves, "{}", problem.remedy);
            assert_eq!(problem.remedy.contains("a is the only control plane"), !leaves, "{}", problem.remedy);
        }
    }
}

#[test]
fn pods_go_on_asking_for_names_where_they_were_told_to() {
    let remedy = |variable: &'static str, value: &str, runs: &[&str]| {
        let wanted = Wanted {
            settled: vec![("serviceSubnet", "kube_service_addresses", "10.233.0.0/18".into())],
            kept: vec![("clusterDNS", variable, value.into())],
            ..Wanted::default()
        };
        let kept = runs.iter().map(|server| ("clusterDNS".into(), (*server).into())).collect();
        let machines = standing(&[("a", Some(plane(1))), ("w", Some(Identity { kept, ..worker(1) }))]);
        let problems = machines.problems("w", &wanted).into_iter();
        problems.filter(|problem| problem.check == variable).map(|problem| problem.remedy).collect::<Vec<_>>()
    };
    let own = "if a server of your own answers there,";
    let first = ["set skydns_server: 10.233.0.3".to_owned()];
    assert_eq!(remedy("skydns_server", "10.233.0.9", &["10.233.0.3", "10.233.0.4"]), first);
    assert_eq!(remedy("skydns_server", "10.233.0.9", &["10.0.0.1", "10.233.0.3"]), first);
    let manual = format!(
        "set skydns_server: 192.0.2.53; or, {own} dns_mode: manual and manual_dns_server: 192.0.2.53"
    );
    assert_eq!(remedy("skydns_server", "10.233.0.3", &["192.0.2.53"]), [manual]);
    let back = format!("set dns_mode as it was, coredns by default; or, {own} manual_dns_server: 10.233.0.3");
    assert_eq!(remedy("manual_dns_server", "192.0.2.53", &["10.233.0.3"]), [back]);
    assert!(remedy("manual_dns_server", "192.0.2.53", &["169.254.25.10", "192.0.2.53"]).is_empty());
    let named = |yaml: &str| {
        let vars = crate::preflight::fixture::variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        vars.deserialize::<super::Vars>().unwrap().server_of_names()
    };
    assert_eq!(named("manual_dns_server: 192.0.2.53"), ("skydns_server", "10.233.0.3".to_owned()));
    let manual = "dns_mode: manual\nmanual_dns_server: 192.0.2.53";
    assert_eq!(named(manual), ("manual_dns_server", "192.0.2.53".to_owned()));
}

#[test]
fn of_another_network_of_services_one_row_is_told() {
    let wanted = |control_plane| Wanted {
        control_plane,
        port: 6443,
        settled: vec![("serviceSubnet", "kube_service_addresses", "10.234.0.0/18".into())],
        kept: vec![("clusterDNS", "skydns_server", "10.234.0.3".into())],
        ..Wanted::default()
    };
    let asks = |identity: Identity| Identity {
        kept: ["169.254.25.10", "10.233.0.3"].map(|server| ("clusterDNS".into(), server.into())).into(),
        ..identity
    };
    let begun = Identity { begun: vec![("serviceSubnet".into(), "10.233.0.0/18".into())], ..plane(1) };
    let machines = standing(&[("a", Some(asks(begun))), ("w", Some(asks(worker(1))))]);
    let told = |machines: &Standing, name: &str, control_plane: bool| -> Vec<String> {
        let problems = machines.problems(name, &wanted(control_plane)).into_iter();
        problems
            .map(|p| p.check)
            .filter(|check| check.starts_with("kube_service") || check.starts_with("skydns"))
            .collect()
    };
    assert_eq!(told(&machines, "a", true), ["kube_service_addresses"]);
    assert!(told(&machines, "w", false).is_empty());
    // Where nobody says so, the worker does.
    let alone = Standing { in_run: vec!["w".into()], ..machines };
    assert_eq!(told(&alone, "w", false), ["skydns_server"]);
}
