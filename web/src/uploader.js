// Uppy: the Dashboard, and its S3 plugin pointed at this API.
import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'

import { authorization, BASE } from './api.js'

const SHOWN_AFTER = 2_500

/** @param on `{arrived(), refused()}`: a file is in the bucket; the API wants a token. */
export function uploader(target, on) {
  const uppy = new Uppy({ id: 'waybill', autoProceed: true })
  uppy.use(Dashboard, {
    target,
    inline: true,
    width: '100%',
    height: 340,
    theme: 'auto',
    singleFileFullScreen: false,
    proudlyDisplayPoweredByUppy: false,
    note: 'Large files can be paused, and go on where they stopped.',
  })
  uppy.use(AwsS3, { endpoint: BASE, headers: authorization(), allowedMetaFields: false })
  uppy.on('upload-success', () => on.arrived())
  uppy.on('upload-error', (_file, error) => isRefusal(error) && on.refused())
  uppy.on('complete', ({ successful }) => {
    // Their way goes on below; the place is free for the next ones.
    setTimeout(() => {
      const ids = successful.map((file) => file.id).filter((id) => uppy.getFile(id))
      if (ids.length) uppy.removeFiles(ids)
    }, SHOWN_AFTER)
  })
  return {
    useToken: () => uppy.getPlugin('AwsS3Multipart').setOptions({ headers: authorization() }),
  }
}

const isRefusal = (error) => error?.isAuthError === true || error?.cause?.isAuthError === true
