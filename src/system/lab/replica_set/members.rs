//! Who holds copies, and how many of them are enough.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's number among all nodes of the lab that can hold a copy, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub u8);

impl Id {
    /// For arrays with a place for each node.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One of the two places where a set can stand; a migration moves it from one to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// Where it stands at first.
    #[default]
    First,
    /// Where it can be moved.
    Second,
}

impl Home {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Home {
        match self {
            Home::First => Home::Second,
            Home::Second => Home::First,
        }
    }
}

/// A set of nodes; in JSON the list of their numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Id>", from = "Vec<Id>")]
pub struct Members(u32);

impl Members {
    /// Every node that there can be.
    pub const ALL: Members = Members(u32::MAX);

    /// The nodes 0 to `count` - 1.
    pub fn first(count: usize) -> Members {
        (0..count).map(|id| Id(id as u8)).collect()
    }

    /// Whether it is one of them.
    pub fn contains(self, id: Id) -> bool {
        self.0 & (1 << id.0) != 0
    }

    /// They and this one.
    #[must_use]
    pub fn with(self, id: Id) -> Members {
        Members(self.0 | 1 << id.0)
    }

    /// They without this one.
    #[must_use]
    pub fn without(self, id: Id) -> Members {
        Members(self.0 & !(1 << id.0))
    }

    /// They and those.
    #[must_use]
    pub fn and(self, others: Members) -> Members {
        Members(self.0 | others.0)
    }

    /// Those of them that are among the others.
    #[must_use]
    pub fn among(self, others: Members) -> Members {
        Members(self.0 & others.0)
    }

    /// They without those.
    #[must_use]
    pub fn except(self, others: Members) -> Members {
        Members(self.0 & !others.0)
    }

    /// Each, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Id> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = rest.trailing_zeros();
            (rest != 0).then(|| {
                rest &= rest - 1;
                Id(lowest as u8)
            })
        })
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The least that is more than half of them.
    pub fn majority(self) -> usize {
        self.len() / 2 + 1
    }

    /// The greatest value that so many of them have reached: of index, of moment.
    pub fn reached<T: Ord>(self, enough: usize, value: impl Fn(Id) -> T) -> Option<T> {
        let mut values: Vec<T> = self.iter().map(value).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.into_iter().nth(enough.checked_sub(1)?)
    }
}

impl FromIterator<Id> for Members {
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Members {
        ids.into_iter().fold(Members::default(), Members::with)
    }
}

impl From<Vec<Id>> for Members {
    fn from(ids: Vec<Id>) -> Members {
        ids.into_iter().collect()
    }
}

impl From<Members> for Vec<Id> {
    fn from(members: Members) -> Vec<Id> {
        members.iter().collect()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|id| id.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_has_reached_the_middle_value_and_all_have_reached_the_least() {
        let index = |id: Id| [9, 4, 7, 2][id.index()];
        let by_majority = |members: Members| members.reached(members.majority(), index);
        assert_eq!(by_majority(Members::first(4)), Some(4));
        assert_eq!(by_majority(Members::first(3)), Some(7));
        assert_eq!(by_majority(Members::first(1)), Some(9));
        assert_eq!(by_majority(Members::default()), None, "nobody is no majority of nobody");
        assert_eq!(Members::first(4).reached(4, index), Some(2));
        assert_eq!(Members::default().reached(0, index), None);
    }

    #[test]
    fn in_json_it_is_a_list() {
        let members: Members = [Id(3), Id(0)].into_iter().collect();
        assert_eq!(serde_json::to_string(&members).unwrap(), "[0,3]");
        assert_eq!(serde_json::from_str::<Members>("[0,3]").unwrap(), members);
    }
}
