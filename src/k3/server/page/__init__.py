"""The web page that the server has at `/`: one more client of the Kubernetes API, in plain ES modules (ADR 56).

`files` hands the files out. The page itself begins in `app.js`, which puts together:

    api.js       requests to the Kubernetes API, with the token
    follow.js    list, then watch, for ever; says when the server is lost
    fleet.js     the Nodes as the page knows them, and whether an agent looks after each
    states.js    what a Node says of itself: state, last seen, source (pure; the same rules as `k3.view.node_table`)
    choice.js    which Nodes are shown, in which order and groups (pure), with selector.js
    grid.js      the table, of which only what is in sight exists
    link.js      all that is chosen, as the address of the page
    past.js      Events, for the history of the Nodes in sight
    doctor.js    what `k3 doctor` found, where one machine is alone
    dialogs.js   the token, the keys, and what a newcomer does next
    dom.js, text.js   elements, and texts of machines made fit to be shown
"""
