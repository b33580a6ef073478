//! What the doctor looks at around the servers: clocks, disks, the members of the database's set, backups.

use std::path::Path;

use bson::{Document, doc};
use shared::{
    backups,
    clock::{Clock, iso},
    config::Config,
    db::Db,
    lenient,
};

use crate::doctor::Finding::{self, Bad, Doubt, Good};

/// Sessions and reservations bear this much.
const SKEW: i64 = 2_000;
/// Signatures of webhooks do not bear this.
const FAR: i64 = 60_000;
/// The last backup should be no older: one a day, and some hours to take it.
const BACKUP_EVERY: i64 = 26 * 3_600_000;
/// With less room than this something will soon stop.
const ROOM: u64 = 1 << 30;

/// Whether this machine and the database's agree what time it is.
pub(crate) async fn clocks(db: &Db) -> Finding {
    let clock = Clock::default();
    let before = clock.now().timestamp_millis();
    let hello = db.database().run_command(doc! { "hello": 1 }).await;
    let after = clock.now().timestamp_millis();
    let Some(there) = hello.ok().and_then(|hello| hello.get_datetime("localTime").ok().copied()) else {
        return Doubt("the database does not tell its time".to_owned());
    };
    // It was somewhen in between.
    let skew = match there.timestamp_millis() {
        there if there < before => there.saturating_sub(before),
        there => there.saturating_sub(after).max(0),
    };
    let said = format!("the clocks of this machine and of the database differ by {} ms", skew.abs());
    match skew.abs() {
        0..SKEW => Good("this machine's clock agrees with the database's".to_owned()),
        SKEW..FAR => Doubt(format!("{said}: keep both right with NTP")),
        _ => {
            Bad(format!("{said}: sessions, reservations and signatures go by them; set them right with NTP"))
        }
    }
}

/// The members of the set, as the primary sees them.
pub(crate) async fn members(db: &Db) -> Finding {
    let status = db.client().database("admin").run_command(doc! { "replSetGetStatus": 1 }).await;
    let Ok(status) = status else {
        return Good(
            "how its members are cannot be seen by this account, which would need clusterMonitor for that"
                .to_owned(),
        );
    };
    let members: Vec<&Document> =
        status.get_array("members").into_iter().flatten().filter_map(|member| member.as_document()).collect();
    let text = |member: &Document, name: &str| member.get_str(name).unwrap_or("?").to_owned();
    let is_well = |member: &&Document| {
        matches!(member.get_str("stateStr"), Ok("PRIMARY" | "SECONDARY" | "ARBITER"))
            && member.get("health").and_then(lenient::as_number).is_none_or(|health| health > 0.5)
    };
    let ill: Vec<String> = members
        .iter()
        .filter(|member| !is_well(member))
        .map(|member| format!("{} is {}", text(member, "name"), text(member, "stateStr")))
        .collect();
    if !ill.is_empty() {
        return Doubt(format!("of its {} members some are not well: {}", members.len(), ill.join(", ")));
    }
    match members.len() {
        1 => Good("it has one member: while that is away, so is the marketplace".to_owned()),
        2 => Doubt("it has two members: when either is away there is no primary; make it three".to_owned()),
        more => Good(format!("all its {more} members are well")),
    }
}

/// When the last backup was made.
pub(crate) async fn backup(db: &Db) -> Finding {
    let age =
        |at: shared::clock::Timestamp| Clock::default().now().timestamp_millis() - at.timestamp_millis();
    match backups::last(db).await {
        Ok(Some(at)) if age(at) < BACKUP_EVERY => Good(format!("the last backup was made at {}", iso(at))),
        Ok(Some(at)) => {
            Doubt(format!("the last backup was made at {}: take one with `souk backup`", iso(at)))
        }
        Ok(None) => Doubt("there has never been a backup: take one with `souk backup`".to_owned()),
        Err(error) => Doubt(format!("it is not known when the last backup was made: {error}")),
    }
}

/// How much room there is where files are kept.
pub(crate) fn disks(config: &Config) -> Vec<Finding> {
    let mut directories = vec![&config.home];
    if config.cloudinary.is_none() && !config.upload_dir.starts_with(&config.home) {
        directories.push(&config.upload_dir);
    }
    directories.into_iter().map(|directory| room(directory)).collect()
}

fn room(directory: &Path) -> Finding {
    // It may not be there yet; then it will be where its parent is.
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let name = directory.display();
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let said = format!("{} MiB are free for {name}", free >> 20);
            if free < ROOM { Doubt(format!("{said}: that is little")) } else { Good(said) }
        }
        Err(error) => Doubt(format!("it is not known how much room there is for {name}: {error}")),
    }
}
