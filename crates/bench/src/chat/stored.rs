//! What the database allows: the documents of the same messages, stored by the bare driver, many in a transaction.

use bson::{Bson, Document, doc};
use mongodb::ClientSession;
use shared::{
    clock::Clock,
    db::Db,
    id::Id,
    model::{Conversation, Message, Stored as _},
};

use crate::ceiling::Sample;

/// Conversations to say something in.
pub(crate) struct Talks(pub(crate) Vec<Conversation>);

/// What one transaction writes.
pub(crate) struct Sayings {
    messages: Vec<Message>,
    updates: Vec<Document>,
}

impl Sample for Talks {
    type Batch = Sayings;

    fn size(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, size: usize, from: usize) -> anyhow::Result<Sayings> {
        let mut sayings = Sayings { messages: Vec::new(), updates: Vec::new() };
        let now = Clock::default().now();
        for (i, conversation) in self.0.iter().cycle().skip(from % self.0.len()).take(size).enumerate() {
            let sender = conversation.members.first().cloned().unwrap_or_default();
            let text = format!("Is it still to be had, and in blue? I ask for the #{}# time", from + i);
            let newest =
                doc! { "$set": { "lastMessage": &text, "lastMessageId": &sender, "updatedAt": now } };
            sayings.updates.push(doc! { "q": { "_id": conversation.id }, "u": newest });
            sayings.messages.push(Message {
                id: Id::new(),
                conversation_id: conversation.id,
                sender,
                text,
                created_at: Some(now),
                updated_at: Some(now),
                // As long as Souk's.
                pairing: Some(format!("socket:{}{:040}", conversation.id.hex(), from + i)),
                ..Message::default()
            });
        }
        Ok(sayings)
    }

    async fn store(db: &Db, session: &mut ClientSession, batch: &Sayings) -> mongodb::error::Result<()> {
        let updates = Bson::from(batch.updates.clone());
        let update = doc! { "update": Conversation::COLLECTION, "updates": updates };
        db.database().run_command(update).session(&mut *session).await?;
        db.of::<Message>().insert_many(&batch.messages).session(session).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_message_and_an_update_for_each_conversation() {
        let talk = || Conversation {
            id: Id::new(),
            members: vec![Id::<()>::new().hex()],
            ..Conversation::default()
        };
        let talks = Talks((0..4).map(|_| talk()).collect());
        let batch = talks.batch(3, 2).unwrap();
        assert_eq!((batch.messages.len(), batch.updates.len()), (3, 3));
        let order: Vec<_> = batch.messages.iter().map(|message| message.conversation_id).collect();
        assert_eq!(order, [talks.0[2].id, talks.0[3].id, talks.0[0].id]);
    }
}
