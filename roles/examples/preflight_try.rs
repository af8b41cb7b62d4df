//! Temporary driver.
use muster_artifacts::Bundle;
use muster_engine::{event::*, failure::Failure, play::Play, run::Run, ssh::*, transport::Transport};
use muster_inventory::*;
use muster_roles::preflight::{check_inventory, sentence};
use std::sync::Arc;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plays: Vec<Play> = serde_saphyr::from_str("- {name: Check, hosts: 'k8s_cluster:etcd', roles: [preflight], any_errors_fatal: true}\n- {name: After, hosts: 'k8s_cluster', roles: [verify]}").unwrap();
    let plays = &plays[..1];
    let inv = Arc::new(Inventory::load(&[Source::from_argument(&args[0])], &LoadOptions { rules: muster_roles::group_rules(), ..Default::default() }).unwrap());
    let mut b = VarsBuilder::new(inv.clone()).defaults("common", muster_roles::COMMON_DEFAULTS).unwrap();
    for r in muster_roles::ROLES { b = b.defaults(r.name, r.defaults).unwrap(); }
    for e in &args[1..] { b = b.extra_vars(e).unwrap(); }
    let vars = b.build().unwrap();
    let hosts: Vec<String> = inv.hosts().map(|h| h.name().to_owned()).collect();
    let t = std::time::Instant::now();
    let f = check_inventory(&inv, &vars, &hosts).unwrap();
    println!("inventory checked in {:?}", t.elapsed());
    for w in &f.warnings { println!("WARN {}", sentence(w)); }
    for p in &f.problems { println!("PROBLEM {} | {} | {} | {}", p.check, p.found, p.needed, p.remedy); }
    if !f.problems.is_empty() { return; }
    let client = Client::new(SshOptions { identity_files: vec![std::env::var("MUSTER_PRIVATE_KEY_FILE").unwrap().into()], known_hosts: vec!["/tmp/pf-known".into()], host_key_policy: HostKeyPolicy::Off, connect_timeout: std::time::Duration::from_secs(3), ..Default::default() }).unwrap();
    let (events, mut rx) = Events::channel();
    let v2 = vars.clone();
    let connect = move |name: &str| {
        let v = v2.host(name)?;
        let addr = v.get("ansible_host")?.and_then(|x| x.as_str().map(str::to_owned)).unwrap_or(name.into());
        let user = v.get("ansible_user")?.and_then(|x| x.as_str().map(str::to_owned)).unwrap_or("root".into());
        Ok(Arc::new(Ssh::new(Target::new(&addr, &user), client.clone())) as Arc<dyn Transport>)
    };
    let t0 = std::time::Instant::now();
    let p = tokio::spawn(async move {
        while let Some(e) = rx.recv().await {
            let at = t0.elapsed().as_secs_f32();
            match e {
                Event::Warning { host, text } => println!("{at:6.2} WARN {host:?} {text}"),
                Event::HostFailed { host, failure: Failure::Problems(list), .. } => for p in list { println!("{at:6.2} PROBLEM {host} | {} | {} | {} | {}", p.check, p.found, p.needed, p.remedy) },
                Event::HostFailed { host, failure, .. } => println!("{at:6.2} FAILED {host} {failure}"),
                Event::RoleEnded { host, elapsed, .. } => println!("{at:6.2} {host} passed in {elapsed:.2?}"),
                Event::Connected { host, elapsed } => println!("{at:6.2} {host} connected in {elapsed:.2?}"),
                _ => {}
            }
        }
    });
    let out = Run { inventory: inv, vars, plays, roles: muster_roles::ROLES, hosts: &hosts, connect: &connect, bundle: Arc::new(Bundle::open(std::env::var("MUSTER_BUNDLE").unwrap()).unwrap()), project: "/tmp/proj".into(), check: false, forks: 50, cancel: Default::default(), events }.execute().await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    p.abort();
    match out { Ok(o) => for (h, o) in o { println!("{h}: {:?} {:?}", o.summary, o.failure.map(|f| f.to_string())) }, Err(e) => println!("{e}") }
}
