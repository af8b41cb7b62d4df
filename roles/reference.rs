//! The reference of variables: what the roles' `defaults.yml` say, which are what is compiled in.

use muster_engine::run::Role;

use crate::{COMMON_DEFAULTS, NETBOOT_DEFAULTS, ROLES};

/// The variables of one `defaults.yml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The roles that share them; none for those that all roles read.
    pub roles: Vec<&'static str>,
    /// What the roles are for.
    pub summary: &'static str,
    /// What belongs together, in the order of the file.
    pub paragraphs: Vec<Paragraph>,
}

/// Variables that are explained together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// The lines of the explanation, without the signs of a comment.
    pub explanation: Vec<&'static str>,
    /// The variables.
    pub variables: Vec<Variable>,
}

/// A variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default in YAML; of one without a default an example.
    pub value: &'static str,
    /// Whether the value is its default.
    pub has_default: bool,
}

/// Every variable, by the files they are explained in.
pub fn sections() -> Vec<Section> {
    let mut sections = vec![section(COMMON_DEFAULTS, "Variables that several roles read", &[])];
    let mut told: Vec<&str> = Vec::new();
    for role in ROLES {
        // Roles that share a folder share their defaults.
        if !told.contains(&role.defaults) {
            let sharing: Vec<&Role> = ROLES.iter().filter(|other| other.defaults == role.defaults).collect();
            sections.push(section(role.defaults, role.summary, &sharing));
            told.push(role.defaults);
        }
    }
    sections.push(section(NETBOOT_DEFAULTS, "Machines that boot from the network", &[]));
    sections.retain(|section| !section.paragraphs.is_empty());
    sections
}

/// Every variable.
pub fn variables() -> impl Iterator<Item = Variable> {
    sections().into_iter().flat_map(|section| section.paragraphs).flat_map(|paragraph| paragraph.variables)
}

fn section(text: &'static str, summary: &'static str, roles: &[&Role]) -> Section {
    let paragraphs = text.split("\n\n").map(paragraph).filter(|paragraph| !paragraph.variables.is_empty());
    let paragraphs = paragraphs.collect();
    Section { roles: roles.iter().map(|role| role.name).collect(), summary, paragraphs }
}

/// Lines without a blank one between them: `# ` begins an explanation, `#name: value` a variable without a default.
fn paragraph(text: &'static str) -> Paragraph {
    let mut paragraph = Paragraph { explanation: Vec::new(), variables: Vec::new() };
    for line in text.lines() {
        let (has_default, rest) = match line.strip_prefix('#') {
            None => (true, line),
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => {
                paragraph.explanation.push(rest.strip_prefix(' ').unwrap_or(rest));
                continue;
            }
            Some(rest) => (false, rest),
        };
        if let Some((name, value)) = rest.split_once(':') {
            paragraph.variables.push(Variable { name, value: value.trim(), has_default });
        }
    }
    paragraph
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{Inventory, VarsBuilder};

    use super::*;

    #[test]
    fn every_default_is_read_as_yaml_reads_it_and_explained() {
        let inventory = Arc::new(Inventory::from_ini("hosts", "a\n", crate::group_rules()).unwrap());
        let mut builder = VarsBuilder::new(inventory);
        let mut again = String::new();
        for section in sections() {
            for paragraph in &section.paragraphs {
                let names: Vec<&str> = paragraph.variables.iter().map(|variable| variable.name).collect();
                assert!(
                    !paragraph.explanation.is_empty(),
                    "{names:?} in {:?} have no explanation",
                    section.roles
                );
                for variable in paragraph.variables.iter().filter(|variable| variable.has_default) {
                    again.push_str(&format!("{}: {}\n", variable.name, variable.value));
                }
            }
        }
        builder = builder.defaults("common", COMMON_DEFAULTS).unwrap();
        builder = builder.defaults("netboot", NETBOOT_DEFAULTS).unwrap();
        for role in ROLES {
            builder = builder.defaults(role.name, role.defaults).unwrap();
        }
        let inventory = Arc::new(Inventory::from_ini("hosts", "a\n", crate::group_rules()).unwrap());
        let read = VarsBuilder::new(inventory).defaults("again", &again).unwrap().build().unwrap();
        assert_eq!(read.host("a").unwrap().raw(), builder.build().unwrap().host("a").unwrap().raw());
    }

    #[test]
    fn a_variable_without_a_default_has_an_example() {
        let text = "# Where it\n#   is:\n#ip: 192.0.2.4\nport: 22";
        let found = paragraph(text);
        assert_eq!(found.explanation, ["Where it", "  is:"]);
        let variable = |name, value, has_default| Variable { name, value, has_default };
        assert_eq!(found.variables, [variable("ip", "192.0.2.4", false), variable("port", "22", true)]);
    }
}
