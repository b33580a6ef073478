use bson::{Document, doc};
use futures_util::TryStreamExt as _;

use crate::{clock::Timestamp, db::Db, lenient};

/// Ends transactions that an earlier life of this application left open: their documents stay
/// locked until the server gives up on them, which takes up to a minute.
///
/// `app_name` is what the application connects as, and must be this node's alone: other nodes'
/// transactions are none of ours to end. `before` is when its present life began. Returns how many
/// were ended.
pub async fn end_orphans(db: &Db, app_name: &str, before: Timestamp) -> anyhow::Result<u64> {
    let pipeline = vec![
        doc! { "$currentOp": { "allUsers": true, "idleSessions": true } },
        doc! { "$match": { "type": "idleSession", "appName": app_name, "transaction": { "$exists": true } } },
    ];
    let admin = db.client().database("admin");
    let sessions: Vec<Document> = admin.aggregate(pipeline).await?.try_collect().await?;
    let mut ended = 0;
    for session in sessions {
        let started = session
            .get_document("transaction")
            .ok()
            .and_then(|transaction| lenient::as_date(transaction.get("startWallClockTime")?));
        let (Ok(lsid), Some(true)) = (session.get_document("lsid"), started.map(|at| at < before)) else {
            continue;
        };
        admin.run_command(doc! { "killAllSessionsByPattern": [{ "lsid": lsid.clone() }] }).await?;
        ended += 1;
    }
    Ok(ended)
}
