//! Checks, and the addresses that their texts and those of actions ask for.

use super::action::{act, ask};
use super::conductor::{Running, Setup};
use crate::event::What;
use crate::experiment::interpolate::{self, UnknownName};
use crate::plan::{Action, CheckAction, CheckWhen, SqlQuery};
use crate::system::known;

impl Running {
    /// A text with the addresses of links and nodes filled in.
    fn fill(&self, text: &str) -> Result<String, UnknownName> {
        let nodes = self.system.nodes();
        interpolate::fill(text, |name| known(name, &self.links, &nodes, &self.dir))
    }

    fn filled_query(&self, query: &SqlQuery) -> Result<SqlQuery, UnknownName> {
        let (address, text) = (self.fill(&query.address)?, self.fill(&query.query)?);
        Ok(SqlQuery { address, query: text, ..query.clone() })
    }

    /// An action with the addresses of links and nodes filled in.
    pub(super) fn filled(&self, action: &Action) -> Result<Action, UnknownName> {
        let fill = |text: &String| self.fill(text);
        Ok(match action {
            Action::Exec(command) => Action::Exec(command.iter().map(fill).collect::<Result<_, _>>()?),
            Action::Http { method, url, body } => {
                Action::Http { method: method.clone(), url: fill(url)?, body: body.as_ref().map(fill).transpose()? }
            }
            // A person reads it as it is written.
            Action::Manual(step) => Action::Manual(step.clone()),
        })
    }

    pub(super) async fn check(&self, setup: &Setup<'_>, when: CheckWhen) {
        for (index, check) in setup.plan.checks.iter().enumerate().filter(|(_, check)| check.when.contains(&when)) {
            let (within, permit) = (check.timeout.0, setup.allowance.permit());
            let (ok, output) = match &check.action {
                CheckAction::Act(action) => match self.filled(action) {
                    Ok(action) => act(&action, within, permit).await,
                    Err(unknown) => (false, unknown.to_string()),
                },
                CheckAction::Sql(query) => match self.filled_query(query) {
                    Ok(query) => ask(&query, within, permit).await,
                    Err(unknown) => (false, unknown.to_string()),
                },
            };
            let when = match when {
                CheckWhen::Before => "before",
                CheckWhen::After => "after",
                CheckWhen::Final => "final",
            };
            self.recorder.event(What::Check { index, when: when.into(), ok, output });
        }
    }
}
