//! What the cloud refuses, and what is refused before the cloud is asked to make anything.

use crate::fixture::Test;

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn what_is_not_in_the_cloud_is_told_by_place_before_anything_is_made() {
    let Some(test) = Test::begin() else { return };
    test.declare("flavor: small", "flavor: smal");
    test.declare("image: debian-12", "image: debian-13");
    test.declare("external: public", "external: publik");
    test.run(&["machines", "create", "shop"])
        .code(4)
        .says("clusters/shop/cluster.yml:8:13: the cloud has no external network \"publik\"; did you mean \"public\"?")
        .says("clusters/shop/cluster.yml:16:13: the cloud has no flavor \"smal\"; did you mean \"small\"?")
        .says("clusters/shop/cluster.yml:17:12: the cloud has no image \"debian-13\"; did you mean \"debian-12\"?");
    test.declare("range: 10.8.0.0/24\n  dns: [192.0.2.53]\n", "existing: ofice\n");
    test.run(&["machines", "create", "shop"])
        .code(4)
        .says("the cloud has no network \"ofice\"; it has public");
    assert_eq!(test.left(), [""; 0]);
}

#[test]
#[ignore = "the services of OpenStack are installed first; ./test --all"]
fn a_login_that_is_not_accepted_says_so() {
    let Some(test) = Test::begin() else { return };
    let create = |variables: &[(&str, &str)]| test.run_with(&["machines", "create", "shop"], None, variables);
    create(&[("OS_PASSWORD", "wrong")]).code(1).says("did not accept the login").says("(401)");
    create(&[("OS_PROJECT_NAME", "no-such")]).code(1).says("did not accept the login");
    create(&[("OS_REGION_NAME", "Nowhere")])
        .code(1)
        .says("has no region \"Nowhere\" with a service of type")
        .says("its regions are RegionOne");
    create(&[("OS_INTERFACE", "private")]).code(1).says("no endpoint for the interface \"private\"");
    create(&[("OS_AUTH_URL", "http://127.0.0.1:9")]).code(1).says("127.0.0.1:9");
    assert_eq!(test.left(), [""; 0]);
}

#[test]
#[ignore = "half a minute: a creation"]
fn a_cluster_is_of_one_project_and_a_copied_folder_is_another_cluster() {
    let Some(test) = Test::begin() else { return };
    test.run(&["machines", "create", "shop"]).code(0);
    let admin = [("OS_USERNAME", "admin"), ("OS_PASSWORD", "admin"), ("OS_PROJECT_NAME", "admin")];
    for command in [&["machines", "create", "shop"][..], &["machines", "delete", "shop", "--yes"]] {
        test.run_with(command, None, &admin).code(1).says("the machines of shop are in the project");
    }
    for file in ["cluster.yml", "identity.yml", "key.pub", "first-boot.yml"] {
        let text = test.read(&format!("clusters/shop/{file}"));
        test.write(&format!("clusters/copy/{file}"), &text);
    }
    test.run(&["machines", "delete", "copy", "--yes"]).code(1).says("identity.yml is of the cluster shop");
    test.run(&["machines", "create", "shpo"]).code(5).says("did you mean shop?");
    test.delete();
}
