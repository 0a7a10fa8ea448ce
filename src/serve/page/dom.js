/**
 * The little that the page needs of a framework: elements, texts that are only touched when they change, and lists whose items stay the
 * same elements from one update to the next, so that focus, selection and a reader's place survive. Text of the node only ever becomes text.
 */

/**
 * An element with attributes and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Readonly<Record<string, string>>} [attributes]
 * @param {readonly (Node | string)[]} [children]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, children = []) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/**
 * The element of the document with this id, which status.html has.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export function byId(id) {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no #${id}`)
  return /** @type {Kind} */ (element)
}

/**
 * Sets the text of an element that has no other children.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Sets an attribute, or removes it.
 * @param {Element} element
 * @param {string} name
 * @param {string | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name)
  } else if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

/**
 * Brings the children of a parent in line with items: an item keeps its element as long as its key is there, elements move only where the
 * order has changed.
 * @template Item
 * @template {HTMLElement} Kind
 */
export class KeyedList {
  /** @type {Map<string, Kind>} */
  #elements = new Map()
  #parent
  #create
  #update

  /**
   * @param {Element} parent without other children
   * @param {(item: Item) => Kind} create
   * @param {(element: Kind, item: Item) => void} update
   */
  constructor(parent, create, update) {
    this.#parent = parent
    this.#create = create
    this.#update = update
  }

  /**
   * @param {readonly Item[]} items
   * @param {(item: Item) => string} keyOf unique among the items
   */
  show(items, keyOf) {
    const keys = new Set(items.map(keyOf))
    // First those that go: with them out of the way, the others mostly stand right already, and what stands right keeps its focus.
    for (const [key, element] of this.#elements) {
      if (keys.has(key)) continue
      this.#elements.delete(key)
      element.remove()
    }
    /** @type {ChildNode | null} */
    let next = this.#parent.firstChild
    for (const item of items) {
      const key = keyOf(item)
      let element = this.#elements.get(key)
      if (element === undefined) this.#elements.set(key, (element = this.#create(item)))
      if (element === next) next = element.nextSibling
      else this.#parent.insertBefore(element, next)
      this.#update(element, item)
    }
  }
}
