//! What chat nodes know of one another's people: a state machine without I/O and without a clock.
//!
//! Each node numbers the changes it tells. Who has missed one sees it at the next change or heartbeat,
//! and asks for the whole list. So signals may be lost, and nodes may come, go and die at any time:
//! when signals arrive again, everybody soon knows the same.

use std::{
    collections::{BTreeSet, HashMap},
    mem::take,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A person's hex id. Shared by the several places that remember it.
pub(crate) type Name = Arc<str>;

/// How many people one signal names at most: some 50 kB.
const NAMED: usize = 2_000;

/// What a node tells the others about itself and its people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase")]
pub(crate) enum Fact {
    /// I am new, or could not hear you: whom have you?
    Hello {
        /// How many changes I have told.
        version: u64,
    },
    /// I am still here.
    Alive {
        /// How many changes I have told.
        version: u64,
    },
    /// My people have changed.
    Changed {
        /// How many changes I had told before this one.
        after: u64,
        #[serde(with = "names")]
        came: Vec<Name>,
        #[serde(with = "names")]
        left: Vec<Name>,
    },
    /// I have missed something of this node: whom has it?
    Ask { of: String },
    /// All my people, in several signals if they are many.
    All {
        version: u64,
        part: usize,
        parts: usize,
        #[serde(with = "names")]
        people: Vec<Name>,
    },
    /// I stop, in good order.
    Goodbye,
}

/// `serde` shares no texts without a feature that everybody else would be built again for.
mod names {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Name;

    pub(super) fn serialize<S: Serializer>(names: &[Name], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(AsRef::<str>::as_ref))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Name>, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(Name::from).collect())
    }
}

/// Somebody came to, or left, another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    Came(Name),
    Left(Name),
}

/// The other nodes, and what they were told by this one.
pub(crate) struct Nodes {
    own: String,
    /// A node that says nothing for so long is dead.
    silence: Duration,
    /// How many changes were told.
    version: u64,
    told: BTreeSet<Name>,
    /// Somebody wants to know all of them.
    asked: bool,
    others: HashMap<String, Node>,
    /// To be said.
    say: Vec<Fact>,
}

/// Another node.
struct Node {
    version: u64,
    people: BTreeSet<Name>,
    heard: Instant,
    /// It was asked for all its people since its last heartbeat.
    asked: bool,
    /// The parts of its answer so far.
    answer: Option<Answer>,
}

struct Answer {
    version: u64,
    next: usize,
    people: BTreeSet<Name>,
}

impl Nodes {
    pub(crate) fn new(own: String, silence: Duration) -> Self {
        let (version, told, asked) = (0, BTreeSet::new(), false);
        Self { own, silence, version, told, asked, others: HashMap::new(), say: Vec::new() }
    }

    /// Nobody else is there, as far as is known.
    pub(crate) fn alone(&self) -> bool {
        self.others.is_empty()
    }

    /// What is to be said to the others, in this order.
    pub(crate) fn take_facts(&mut self) -> Vec<Fact> {
        if take(&mut self.asked) {
            let people: Vec<Name> = self.told.iter().cloned().collect();
            let parts = people.len().div_ceil(NAMED).max(1);
            let version = self.version;
            let all = (0..parts).map(|part| {
                let people = people.iter().skip(part * NAMED).take(NAMED).cloned().collect();
                Fact::All { version, part, parts, people }
            });
            self.say.extend(all);
        }
        take(&mut self.say)
    }

    /// Other nodes can be heard from now on: what they said before was missed.
    pub(crate) fn hello(&mut self) {
        self.say.push(Fact::Hello { version: self.version });
    }

    /// Time for a heartbeat.
    pub(crate) fn beat(&mut self) {
        self.say.push(Fact::Alive { version: self.version });
    }

    /// These may have come to this node or left it since they were last told of.
    pub(crate) fn tell(&mut self, people: BTreeSet<Name>, here: impl Fn(&str) -> bool) {
        let (mut came, mut left) = (Vec::new(), Vec::new());
        for person in people {
            if here(&person) {
                if self.told.insert(Arc::clone(&person)) {
                    came.push(person);
                }
            } else if self.told.remove(&person) {
                left.push(person);
            }
        }
        while !(came.is_empty() && left.is_empty()) {
            let after = self.version;
            self.version += 1;
            let (some, others) = (split(&mut came), split(&mut left));
            // A node that comes later learns of all from the answer to its hello.
            if !self.alone() {
                self.say.push(Fact::Changed { after, came: some, left: others });
            }
        }
    }

    /// Another node has said something.
    pub(crate) fn hear(&mut self, from: &str, fact: Fact, now: Instant) -> Vec<Elsewhere> {
        if from == self.own {
            return Vec::new();
        }
        if fact == Fact::Goodbye {
            return self.forget(from);
        }
        // Who is new to this node may not know of its people either: while nobody was there, nobody was told.
        self.asked |= !self.others.contains_key(from);
        let node = self.others.entry(from.to_owned()).or_insert_with(|| Node {
            version: 0,
            people: BTreeSet::new(),
            heard: now,
            asked: false,
            answer: None,
        });
        node.heard = now;
        let missed = match fact {
            Fact::Hello { version } => {
                self.asked = true;
                node.asked = false;
                version != node.version
            }
            Fact::Alive { version } => {
                node.asked = false;
                version != node.version
            }
            Fact::Changed { after, came, left } if after == node.version => {
                node.version += 1;
                return node.change(came, left);
            }
            Fact::Changed { after, .. } => after > node.version,
            Fact::All { version, part, parts, people } => {
                return node.answer(version, part, parts, people);
            }
            Fact::Ask { of } => {
                self.asked |= of == self.own;
                false
            }
            Fact::Goodbye => false,
        };
        if missed && !node.asked {
            node.asked = true;
            self.say.push(Fact::Ask { of: from.to_owned() });
        }
        Vec::new()
    }

    /// Gives up those that have been silent for too long: how many nodes, and whom they had.
    pub(crate) fn bury(&mut self, now: Instant) -> (usize, Vec<Elsewhere>) {
        let silent = |node: &Node| now.saturating_duration_since(node.heard) >= self.silence;
        let dead: Vec<String> =
            self.others.iter().filter(|(_, node)| silent(node)).map(|(id, _)| id.clone()).collect();
        (dead.len(), dead.iter().flat_map(|id| self.forget(id)).collect())
    }

    fn forget(&mut self, id: &str) -> Vec<Elsewhere> {
        let people = self.others.remove(id).map(|node| node.people).unwrap_or_default();
        people.into_iter().map(Elsewhere::Left).collect()
    }
}

impl Node {
    fn change(&mut self, came: Vec<Name>, left: Vec<Name>) -> Vec<Elsewhere> {
        let mut changes = Vec::new();
        for person in came {
            if self.people.insert(Arc::clone(&person)) {
                changes.push(Elsewhere::Came(person));
            }
        }
        for person in left {
            if self.people.remove(&person) {
                changes.push(Elsewhere::Left(person));
            }
        }
        changes
    }

    /// A part of all its people. They count once the last part is there.
    fn answer(&mut self, version: u64, part: usize, parts: usize, people: Vec<Name>) -> Vec<Elsewhere> {
        if version <= self.version {
            // Others had asked.
            return Vec::new();
        }
        let fresh = || Answer { version, next: 0, people: BTreeSet::new() };
        let mut answer = if part == 0 { fresh() } else { self.answer.take().unwrap_or_else(fresh) };
        if (answer.version, answer.next) != (version, part) {
            return Vec::new();
        }
        answer.people.extend(people);
        answer.next += 1;
        if answer.next < parts {
            self.answer = Some(answer);
            return Vec::new();
        }
        self.answer = None;
        self.version = version;
        let left = self.people.difference(&answer.people).cloned().collect();
        let came = answer.people.difference(&self.people).cloned().collect();
        self.change(came, left)
    }
}

/// Takes some off the end of a list.
fn split(people: &mut Vec<Name>) -> Vec<Name> {
    people.split_off(people.len().saturating_sub(NAMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(20);

    fn node(id: &str) -> Nodes {
        Nodes::new(id.to_owned(), SILENCE)
    }

    fn name(i: usize) -> Name {
        format!("{i:024x}").into()
    }

    /// What one node knows of another's people.
    fn known(at: &Nodes, of: &str) -> Vec<Name> {
        at.others.get(of).map(|node| node.people.iter().cloned().collect()).unwrap_or_default()
    }

    fn come(node: &mut Nodes, people: &[usize]) {
        node.tell(people.iter().map(|i| name(*i)).collect(), |_| true);
    }

    fn leave(node: &mut Nodes, people: &[usize]) {
        node.tell(people.iter().map(|i| name(*i)).collect(), |_| false);
    }

    /// Says what `from` has to say to `to`, but for the signals numbered in `lost`.
    fn say(from: &mut Nodes, to: &mut Nodes, lost: &[usize], now: Instant) -> Vec<Elsewhere> {
        let facts = from.take_facts().into_iter().enumerate().filter(|(i, _)| !lost.contains(i));
        let own = from.own.clone();
        facts.flat_map(|(_, fact)| to.hear(&own, fact, now)).collect()
    }

    #[test]
    fn a_new_node_learns_whom_the_others_have() {
        let now = Instant::now();
        let (mut a, mut b) = (node("a"), node("b"));
        come(&mut a, &[1, 2]);
        assert_eq!(a.take_facts(), [], "nobody is there to be told");
        b.hello();
        say(&mut b, &mut a, &[], now);
        assert_eq!(say(&mut a, &mut b, &[], now), [Elsewhere::Came(name(1)), Elsewhere::Came(name(2))]);
        come(&mut b, &[3]);
        say(&mut b, &mut a, &[], now);
        assert_eq!((known(&a, "b"), known(&b, "a")), (vec![name(3)], vec![name(1), name(2)]));
    }

    #[test]
    fn who_came_before_the_others_were_known_is_told_of() {
        let now = Instant::now();
        let (mut a, mut b) = (node("a"), node("b"));
        b.hello();
        say(&mut b, &mut a, &[], now);
        come(&mut b, &[1]);
        assert_eq!(b.take_facts(), [], "as far as it knows nobody is there");
        say(&mut a, &mut b, &[], now);
        say(&mut b, &mut a, &[], now);
        assert_eq!(known(&a, "b"), [name(1)]);
    }

    #[test]
    fn who_leaves_and_comes_back_before_it_was_told_is_not_spoken_of() {
        let (mut a, mut b) = (node("a"), node("b"));
        b.hello();
        say(&mut b, &mut a, &[], Instant::now());
        come(&mut a, &[1]);
        a.take_facts();
        come(&mut a, &[1]);
        leave(&mut a, &[2]);
        assert_eq!(a.take_facts(), []);
    }

    #[test]
    fn a_missed_change_is_seen_at_the_next_change_and_at_the_next_heartbeat() {
        for next in [false, true] {
            let now = Instant::now();
            let (mut a, mut b) = (node("a"), node("b"));
            b.hello();
            say(&mut b, &mut a, &[], now);
            say(&mut a, &mut b, &[], now);
            come(&mut a, &[1]);
            say(&mut a, &mut b, &[0], now);
            if next {
                leave(&mut a, &[1])
            } else {
                a.beat()
            }
            say(&mut a, &mut b, &[], now);
            assert_eq!(b.say, [Fact::Ask { of: "a".into() }]);
            say(&mut b, &mut a, &[], now);
            say(&mut a, &mut b, &[], now);
            let online = if next { vec![] } else { vec![name(1)] };
            assert_eq!((known(&b, "a"), b.others["a"].version), (online, a.version));
        }
    }

    #[test]
    fn a_question_that_was_lost_is_asked_again_at_the_next_heartbeat_and_not_before() {
        let now = Instant::now();
        let (mut a, mut b) = (node("a"), node("b"));
        b.hello();
        say(&mut b, &mut a, &[], now);
        say(&mut a, &mut b, &[], now);
        b.take_facts();
        come(&mut a, &[1]);
        a.take_facts();
        for i in 2..5 {
            come(&mut a, &[i]);
        }
        say(&mut a, &mut b, &[], now);
        assert_eq!(b.take_facts().len(), 1);
        a.beat();
        say(&mut a, &mut b, &[], now);
        assert_eq!(b.take_facts().len(), 1);
    }

    #[test]
    fn a_node_that_is_silent_is_dead_until_it_is_heard_again() {
        let now = Instant::now();
        let (mut a, mut b) = (node("a"), node("b"));
        b.hello();
        say(&mut b, &mut a, &[], now);
        come(&mut a, &[1]);
        say(&mut a, &mut b, &[], now);
        assert_eq!(b.bury(now + SILENCE / 2), (0, vec![]));
        assert_eq!(b.bury(now + SILENCE), (1, vec![Elsewhere::Left(name(1))]));
        a.beat();
        say(&mut a, &mut b, &[], now + SILENCE);
        say(&mut b, &mut a, &[], now + SILENCE);
        assert_eq!(say(&mut a, &mut b, &[], now + SILENCE), [Elsewhere::Came(name(1))]);
    }

    #[test]
    fn a_stop_in_good_order_clears_at_once() {
        let now = Instant::now();
        let mut b = node("b");
        b.hear("a", Fact::Changed { after: 0, came: vec![name(1)], left: vec![] }, now);
        assert_eq!(b.hear("a", Fact::Goodbye, now), [Elsewhere::Left(name(1))]);
        assert!(b.alone());
    }

    #[test]
    fn many_people_are_told_in_several_signals_and_count_when_all_are_there() {
        let now = Instant::now();
        let (mut a, mut b, mut c) = (node("a"), node("b"), node("c"));
        b.hello();
        say(&mut b, &mut a, &[], now);
        say(&mut a, &mut b, &[], now);
        let many: Vec<usize> = (0..NAMED * 2 + 1).collect();
        come(&mut a, &many);
        let facts = a.take_facts();
        assert_eq!(facts.len(), 3);
        for fact in facts {
            b.hear("a", fact, now);
        }
        assert_eq!(known(&b, "a").len(), many.len());
        // One part is lost, then it comes as a whole.
        for lost in [vec![1], vec![]] {
            c.hello();
            say(&mut c, &mut a, &[], now);
            say(&mut a, &mut c, &lost, now);
            assert_eq!(known(&c, "a").len(), if lost.is_empty() { many.len() } else { 0 });
        }
    }

    /// Small, and the same on every run.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, n: u64) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((self.0 >> 33) % n).unwrap()
        }
    }

    /// Whatever happens, once signals arrive again everybody knows the same.
    #[test]
    fn after_any_story_everybody_knows_the_same() {
        for seed in 0..100 {
            let mut chance = Chance(seed);
            let mut now = Instant::now();
            let mut here: Vec<(Nodes, BTreeSet<Name>)> =
                (0..4).map(|i| (node(&format!("n{i}")), BTreeSet::new())).collect();
            // What is under way from one node to another: the bus keeps each sender's order.
            let mut under_way: HashMap<(String, String), Vec<Fact>> = HashMap::new();
            let mut born = 4;
            for step in 0..400 {
                let lossy = step < 300;
                let i = chance.below(4);
                now += Duration::from_millis(300);
                match chance.below(if lossy { 12 } else { 3 }) {
                    // The node dies, and another takes its place.
                    11 => {
                        here[i] = (node(&format!("n{born}")), BTreeSet::new());
                        here[i].0.hello();
                        born += 1;
                    }
                    0 => here[i].0.beat(),
                    1 | 2 => {}
                    _ => {
                        let person = name(chance.below(6));
                        let (nodes, people) = &mut here[i];
                        if !people.insert(Arc::clone(&person)) {
                            people.remove(&person);
                        }
                        nodes.tell(BTreeSet::from([person]), |one| people.contains(one));
                    }
                }
                let (facts, from) = (here[i].0.take_facts(), here[i].0.own.clone());
                for other in here.iter().map(|(nodes, _)| nodes.own.clone()) {
                    for fact in &facts {
                        if !lossy || chance.below(10) > 0 {
                            under_way.entry((from.clone(), other.clone())).or_default().push(fact.clone());
                        }
                    }
                }
                // Any of what is under way arrives, in each sender's order.
                for (nodes, _) in &mut here {
                    for ((from, to), facts) in &mut under_way {
                        let some = chance.below(3).min(facts.len());
                        for fact in facts.drain(..some) {
                            if *to == nodes.own {
                                nodes.hear(from, fact, now);
                            }
                        }
                    }
                    nodes.bury(now);
                }
            }
            // Now all arrives: heartbeats, questions, answers, and the dead fall silent.
            now += SILENCE;
            for _ in 0..3 {
                here.iter_mut().for_each(|(nodes, _)| nodes.beat());
                for _ in 0..2 {
                    let said: Vec<_> =
                        here.iter_mut().map(|(nodes, _)| (nodes.own.clone(), nodes.take_facts())).collect();
                    for (from, facts) in said {
                        for fact in facts {
                            here.iter_mut().for_each(|(nodes, _)| _ = nodes.hear(&from, fact.clone(), now));
                        }
                    }
                }
                here.iter_mut().for_each(|(nodes, _)| _ = nodes.bury(now));
            }
            for (at, _) in &here {
                assert_eq!(at.others.len(), 3, "seed {seed}");
                for (of, people) in here.iter().filter(|(of, _)| of.own != at.own) {
                    assert_eq!(&at.others[&of.own].people, people, "seed {seed}");
                }
            }
        }
    }
}
