//! A table from many entries at once.

use super::{ALL_ORDERS, Table};
use crate::dictionary::DictionaryBuilder;
use crate::entry::{Entry, Id};
use crate::set::{Bits, at, slot as number};
use crate::sorted::Sorted;

/// A table under construction: no order is kept until all entries are there.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    table: Table,
    dictionary: DictionaryBuilder,
}

impl TableBuilder {
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        let table = &mut self.table;
        let (facts, _) = table.learn(entry);
        let slot = number(table.columns.len());
        table.columns.push();
        table.columns.write(slot, entry, &facts);
        table.marks.push(self.dictionary.add(slot, entry.words()));
    }

    pub(crate) fn len(&self) -> usize {
        self.table.columns.len()
    }

    pub(crate) fn finish(self) -> Table {
        let Self { mut table, dictionary } = self;
        table.codes = vec![0; 256];
        table.dictionary = dictionary.finish(table.list_max());
        table.columns.shrink();
        table.marks.shrink_to_fit();
        let slots: Vec<u32> = (0..number(table.columns.len())).collect();
        for slot in slots.iter().copied() {
            table.live.insert(slot);
            table.classify(slot, &table.columns.facts(slot), true, None);
        }
        for group in table.categories.iter_mut().chain(&mut table.shops) {
            group.set.shrink();
        }
        for by in ALL_ORDERS {
            let mut keyed: Vec<(i64, Id, u32)> = slots
                .iter()
                .map(|slot| (table.columns.key(by, *slot), table.columns.id(*slot), *slot))
                .collect();
            keyed.sort_unstable();
            let order: Vec<u32> = keyed.into_iter().map(|(_, _, slot)| slot).collect();
            *table.orders.get_mut(by) = Sorted::of(&order);
        }
        let mut order = slots;
        // Stable: of two with the same id, the later one is behind.
        order.sort_by_key(|slot| table.columns.id(*slot));
        table.by_id = Sorted::of(&order);
        table.drop_repeated(&order);
        table
    }

    /// An index that has seen nothing yet.
    pub(crate) fn empty() -> Table {
        Self::default().finish()
    }
}

impl Table {
    /// Of entries with the same id, keeps the one that was added last.
    fn drop_repeated(&mut self, by_id: &[u32]) {
        let repeated: Vec<u32> = by_id
            .windows(2)
            .filter_map(|pair| match pair {
                [earlier, later] if self.columns.id(*earlier) == self.columns.id(*later) => Some(*earlier),
                _ => None,
            })
            .collect();
        if repeated.is_empty() {
            return;
        }
        let mut gone = Bits::default();
        for slot in repeated {
            gone.insert(slot);
            let old = self.state(slot);
            let marks = self.marks.get_mut(at(slot)).map(std::mem::take).unwrap_or_default();
            self.dictionary.replace(slot, &marks, &[], self.list_max());
            self.classify(slot, &old.facts, false, None);
            self.live.remove(slot);
            self.free.push(slot);
        }
        // Equal keys and ids cannot be told apart in the orders: they are made anew.
        let left = |order: &Sorted| {
            let left: Vec<u32> = order.forwards(order.start()).filter(|slot| !gone.contains(*slot)).collect();
            Sorted::of(&left)
        };
        self.by_id = left(&self.by_id);
        for by in ALL_ORDERS {
            *self.orders.get_mut(by) = left(self.orders.get(by));
        }
    }
}
