//! Where text of other people comes in: what must be true of any text. Shared by the tests on generated text and by
//! `fuzz/`.

use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, LoadOptions, Source, Vars, VarsBuilder};

pub(crate) fn rules() -> GroupRules {
    GroupRules::new().alias("kube-node", "kube_node").union("k8s_cluster", &["kube_node"])
}

/// The text of an inventory; the ending of its name decides its form.
pub(crate) fn inventory(name: &str, text: &str) {
    let source = Source::Text { path: format!("/nowhere/{name}").into(), text: text.to_owned() };
    let options = LoadOptions { rules: rules(), ..LoadOptions::default() };
    let Ok(inventory) = Inventory::load(&[source], &options) else { return };
    // What was read can be shown and asked, whatever it was.
    let inventory = Arc::new(inventory);
    let vars = VarsBuilder::new(Arc::clone(&inventory)).build().expect("no files");
    assert!(vars.list_json().is_object());
    assert_eq!(inventory.select("all").expect("a pattern").len(), inventory.hosts().len());
    for host in inventory.hosts() {
        let _values = vars.host(host.name()).expect("a host of it").resolve_all();
    }
}

/// The text of a file of variables.
pub(crate) fn variables(text: &str) {
    let inventory = Arc::new(Inventory::from_ini("hosts", "h\n", rules()).expect("a host"));
    let vars = VarsBuilder::new(Arc::clone(&inventory)).defaults("vars", text).and_then(VarsBuilder::build);
    if let Ok(vars) = vars {
        let _values = vars.host("h").expect("a host").resolve_all();
    }
    let _extra = VarsBuilder::new(inventory).extra_vars(&format!("{{{text}"));
}

/// A template: as that of a file, as the value of a variable, and as an expression.
pub(crate) fn template(text: &str) {
    let vars = host();
    let host = vars.host("h").expect("a host");
    let _rendered = host.render(text, "template", &());
    let _value = host.resolve(&text.into());
    let _expression = host.resolve(&format!("{{{{ {text} }}}}").as_str().into());
}

/// Variables of every type, of a host `h`.
pub(crate) fn host() -> Arc<Vars> {
    let inventory = Inventory::from_ini("hosts", "h\n[web]\nh\n", rules()).expect("a host");
    let vars = "a: 1\nlist: [1, [2, x]]\nmap: {k: {l: m}}\ntext: some text\n";
    VarsBuilder::new(Arc::new(inventory))
        .defaults("vars", vars)
        .and_then(VarsBuilder::build)
        .expect("variables")
}
