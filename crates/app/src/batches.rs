//! Groups whose hosts have batches of their own in a play: it becomes several, one after the other.

use muster_engine::play::{Play, Share};
use muster_inventory::Value;

use crate::error::Error;
use crate::world::World;

/// The plays, with one for each group that the variable of a play (`serial_by_group`) names, in its order, and one for the hosts
/// that are in none of them.
///
/// # Errors
/// What the variable says is no number of hosts; or there is no such group.
pub(crate) fn by_group(plays: Vec<Play>, world: &World) -> Result<Vec<Play>, Error> {
    let mut all = Vec::new();
    for play in plays {
        let value = match &play.serial_by_group {
            Some(variable) => said(world, &play, variable)?.map(|value| (variable, value)),
            None => None,
        };
        match value {
            Some((variable, value)) => all.extend(split(&play, variable, &value, world)?),
            None => all.push(play),
        }
    }
    Ok(all)
}

/// What the variable says; it is that of the first host of the play, because it is about all of them.
fn said(world: &World, play: &Play, variable: &str) -> Result<Option<Value>, Error> {
    let Ok(hosts) = world.inventory.select(&play.hosts) else { return Ok(None) };
    let Some(first) = hosts.first() else { return Ok(None) };
    Ok(world.vars.host(first)?.get(variable)?)
}

fn split(play: &Play, variable: &str, value: &Value, world: &World) -> Result<Vec<Play>, Error> {
    let wrong = |value: &Value, what: String| {
        let origin = value.origin.as_ref();
        let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
        let excerpt = origin.map(muster_inventory::Origin::excerpt).unwrap_or_default();
        Error::written(format!("{place}{variable} {what}{excerpt}")).hint(format!(
            "for example {variable}: {{pool_a: 2, pool_b: 30%}}; see muster docs vars {variable}"
        ))
    };
    let Some(groups) = value.as_map() else {
        return Err(wrong(
            value,
            format!("is {}, and not groups with how many of their hosts at once", value.type_name()),
        ));
    };
    let mut plays: Vec<Play> = Vec::new();
    let mut without = String::new();
    for (group, size) in groups {
        let size_as_text = size.as_str().map_or_else(|| size.to_json().to_string(), str::to_owned);
        let serial = size_as_text.parse::<Share>().ok().filter(|share| share.is_some_host());
        let Some(serial) = serial else {
            return Err(wrong(
                size,
                format!("of {group} is {size_as_text}, and not a number of hosts or a percentage"),
            ));
        };
        world.inventory.select(group).map_err(|error| wrong(size, format!("names a group: {error}")))?;
        plays.push(Play {
            name: format!("{}: {group}", play.name),
            hosts: format!("{}:&{group}{without}", play.hosts),
            serial: Some(serial),
            ..play.clone()
        });
        without += &format!(":!{group}");
    }
    plays.push(Play { hosts: format!("{}{without}", play.hosts), ..play.clone() });
    let last = plays.len() - 1;
    for (number, part) in plays.iter_mut().enumerate() {
        part.wait_for_all |= number > 0;
        // Before all of them, and after all of them.
        if number > 0 {
            part.before.clear();
        }
        if number < last {
            part.after.clear();
        }
    }
    Ok(plays)
}
