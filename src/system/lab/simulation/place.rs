//! A place in the simulated world: what runs there, or what is left of it.

/// What runs in a place, and what a kill leaves of it.
pub(super) struct Place<Alive, Left, Message> {
    state: Result<Alive, Option<Left>>,
    /// How often it was ended: an answer is for the life that asked.
    boot: u64,
    /// While it is paused, what has come meanwhile.
    waiting: Option<Vec<(Option<u64>, Message)>>,
}

impl<Alive, Left, Message> Place<Alive, Left, Message> {
    pub(super) fn new(alive: Alive) -> Place<Alive, Left, Message> {
        Place { state: Ok(alive), boot: 0, waiting: None }
    }

    pub(super) fn boot(&self) -> u64 {
        self.boot
    }

    /// What runs, even if it stands still.
    pub(super) fn alive(&self) -> Option<&Alive> {
        self.state.as_ref().ok()
    }

    /// What runs and may act.
    pub(super) fn acting(&mut self) -> Option<&mut Alive> {
        if self.waiting.is_some() { None } else { self.state.as_mut().ok() }
    }

    /// A message comes to this life, or to any; none if it is not to be handled now.
    pub(super) fn receives(&mut self, for_boot: Option<u64>, message: Message) -> Option<Message> {
        if for_boot.is_some_and(|boot| boot != self.boot) {
            return None;
        }
        match &mut self.waiting {
            Some(waiting) => {
                waiting.push((for_boot, message));
                None
            }
            None => Some(message),
        }
    }

    /// Ends it without a word.
    pub(super) fn kill(&mut self, leaves: impl FnOnce(&Alive) -> Left) {
        self.boot += 1;
        self.waiting = None;
        if let Ok(alive) = &self.state {
            self.state = Err(Some(leaves(alive)));
        }
    }

    /// Starts it again, if it was ended.
    pub(super) fn start(&mut self, boots: impl FnOnce(Left) -> Alive) {
        if let Err(left) = &mut self.state
            && let Some(left) = left.take()
        {
            self.state = Ok(boots(left));
        }
    }

    /// Starts what runs anew, on the spot.
    pub(super) fn restart(&mut self, leaves: impl FnOnce(&Alive) -> Left, boots: impl FnOnce(Left) -> Alive) {
        self.kill(leaves);
        self.start(boots);
    }

    pub(super) fn pause(&mut self) {
        self.waiting.get_or_insert_default();
    }

    /// It goes on; what came meanwhile.
    pub(super) fn resume(&mut self) -> Vec<(Option<u64>, Message)> {
        self.waiting.take().unwrap_or_default()
    }
}
