//! Temporary driver.
use muster_artifacts::Bundle;
use muster_engine::{event::*, play::Play, run::Run, ssh::*, transport::Transport};
use muster_inventory::*;
use std::sync::Arc;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = std::fs::read_to_string(&args[0]).unwrap();
    let plays: Vec<Play> = serde_saphyr::from_str(&text).unwrap();
    let inv = Arc::new(Inventory::load(&[Source::from_argument(&args[1])], &LoadOptions { rules: muster_roles::group_rules(), ..Default::default() }).unwrap());
    let mut b = VarsBuilder::new(inv.clone()).defaults("common", muster_roles::COMMON_DEFAULTS).unwrap();
    let mut seen = vec![];
    for r in muster_roles::ROLES { if !seen.contains(&r.defaults) { b = b.defaults(r.name, r.defaults).unwrap(); seen.push(r.defaults); } }
    for e in &args[2..] { if e != "--check" { b = b.extra_vars(e).unwrap(); } }
    let vars = b.build().unwrap();
    let client = Client::new(SshOptions { identity_files: vec![std::env::var("MUSTER_PRIVATE_KEY_FILE").unwrap().into()], known_hosts: vec![std::env::var("MUSTER_KNOWN_HOSTS").unwrap().into()], host_key_policy: HostKeyPolicy::AcceptNew, ..Default::default() }).unwrap();
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
            match e {
                Event::Output { .. } | Event::Transfer { .. } if std::env::var("V").is_err() => {}
                Event::StepEnded { host, role, step, counts, changes, exchanges, elapsed } => println!("{:7.2} {host} {role}/{step}: {counts:?} {exchanges}x {elapsed:.2?} {}", t0.elapsed().as_secs_f32(), changes.iter().map(|c| format!("{}: {}", c.resource, c.what)).collect::<Vec<_>>().join("; ")),
                Event::HostFailed { host, role, step, failure } => println!("{:7.2} FAILED {host} {role:?} {step:?} {failure}\n{}", t0.elapsed().as_secs_f32(), failure.tail().unwrap_or("")),
                e => println!("{:7.2} {e:?}", t0.elapsed().as_secs_f32()),
            }
        }
    });
    let hosts: Vec<String> = inv.hosts().map(|h| h.name().to_owned()).collect();
    let out = Run { inventory: inv, vars, plays: &plays, roles: muster_roles::ROLES, hosts: &hosts, connect: &connect, bundle: Arc::new(Bundle::open(std::env::var("MUSTER_BUNDLE").unwrap()).unwrap()), project: "/tmp/proj".into(), check: args.iter().any(|a| a == "--check"), forks: 50, cancel: Default::default(), events }.execute().await;
    p.abort();
    match out { Ok(o) => for (h, o) in o { println!("{h}: {:?} {:?}", o.summary, o.failure.map(|f| f.to_string())) }, Err(e) => println!("{e}") }
}
