"""The web page that the server has at `/`: one more client of the Kubernetes API, in plain ES modules (ADR 56).

`files` hands the files out. The page itself begins in `app.js`, which puts together:

    api.js       requests to the Kubernetes API, with the token
    follow.js    list, then watch, for ever; says when the server is lost
    fleet.js     the Nodes as the page knows them, and whether an agent looks after each
    states.js    what a Node says of itself: state, last seen, source (the same rules as `k3.view.node_table`)
    choice.js    which Nodes are shown, in which order and groups; selector.js has the label selectors
    order.js     which of them are shown where, kept up to date change by change
    grid.js      the table, of which only what is in sight exists; columns.js has its cells
    head.js      the count, how the connection stands, and what a newcomer does next
    link.js      all that is chosen, as the address of the page
    past.js      Events, fetched; history.js and back.js make the past of the Nodes of them, timeslider.js chooses a moment
    drawer.js    one Node in full, with sections.js, meaning.js, yaml.js; editor.js and actions.js change it
    findings.js  what is wrong with the list itself
    doctor.js    what `k3 doctor` found, where one machine is alone
    dialogs.js   the token, and the keys
    dom.js, text.js   elements, and texts of machines made fit to be shown
"""
